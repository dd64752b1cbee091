module github.com/weir-risk/weir/deploy/dst

go 1.26
