# The commands of the project; `make` lists them.
.PHONY: help test race integration arm64 prove fuzz bench

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

## make test         everything that needs only Go: unit tests, the embedded broker, SQLite
test:
	go vet ./...
	go test ./...

## make race         the same under the race detector, with fewer iterations
race:
	go test -race -short ./...

## make integration  the same end-to-end tests on real Apache Kafka, ClickHouse, a schema registry and Keycloak
integration:
	deploy/integration

## make arm64        golden bits of features and scores on another processor, by emulation
arm64:
	deploy/qemu/arm64

## make prove        every row of every proof at full size; resumable, an hour or more
prove:
	deploy/prove

## make fuzz         every fuzz target for ten seconds
fuzz:
	deploy/fuzz

## make bench        the benchmarks beside the code
bench:
	go test -run '^$$' -bench . -benchmem ./...
