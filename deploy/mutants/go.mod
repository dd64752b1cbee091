module github.com/weir-risk/weir/deploy/mutants

go 1.26
