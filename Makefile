# The commands of the project; `make` lists them.
.PHONY: help test race integration arm64 browser gpu kernels kernels-verify screenshots prove fuzz bench vulncheck sbom otlp container lint rules alerts mutants dst

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

## make test         everything that needs only Go: unit tests, the embedded broker, SQLite
test:
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

## make browser      a day at the desk in Chromium: work, races, keys alone, no script, accessibility
browser:
	deploy/browser/run

## make gpu          what shows without a GPU that the GPU scores right: its kernels, simulated, and a fake driver
gpu: kernels-verify
	scoring/cuda/fakedriver/build .cache/fakedriver
	WEIR_GPU=1 WEIR_LIBCUDA=$(CURDIR)/.cache/fakedriver/libcuda.so.1 go test -p 1 -count=1 ./scoring/cuda/...
	WEIR_LIBCUDA=$(CURDIR)/.cache/fakedriver/libcuda.so.1 go test -count=1 -run 'Device|GPU' ./cmd/weir

## make kernels      compile the GPU kernels; needs Python and PyPI, and nothing of CUDA
kernels:
	python3 scoring/cuda/kernels/compile.py

## make kernels-verify  the embedded kernels are what their source compiles to
kernels-verify:
	python3 scoring/cuda/kernels/compile.py verify

## make container    build the images, start weir from them, and find planted mistakes; needs root on Debian
container:
	deploy/container/check

## make lint         go vet, and the chart and compose.yaml: helm, kubeconform, Compose's parser, and weir itself
lint:
	go vet ./...
	deploy/lint/run

## make rules        alert rules, dashboards and runbooks against the metrics that weir exports, and promtool
rules:
	deploy/rules/check

## make alerts       real Prometheus raises the alerts, and clears them, while things go wrong around weir
alerts:
	deploy/rules/alerts

## make screenshots  every page of the desk, light and dark, wide and narrow, as pictures in .cache/screenshots
SCREENSHOTS ?= .cache/screenshots
screenshots:
	SCREENSHOTS=$(SCREENSHOTS) deploy/browser/run -v

## make prove        every row of every proof at full size; resumable, an hour or more
prove:
	deploy/prove

## make mutants      plant bugs in weir, one at a time, and see that its tests find them; half an hour
mutants:
	cd deploy/mutants && go run .

## make dst          the stream simulated in memory, 10,000 seeds of faults: WEIR_SEEDS=n sets how many, WEIR_SEED=n where from
dst:
	cd deploy/dst && go run .

## make fuzz         every fuzz target for ten seconds
fuzz:
	deploy/fuzz

## make vulncheck    known vulnerabilities in what is called, of modules and of Go itself
vulncheck:
	deploy/vulncheck

## make otlp         traces of weir's processes, as the OpenTelemetry Collector's own receiver reads them
otlp:
	deploy/otlp/run

## make sbom         what the shipped programs are made of, as CycloneDX in .cache/sbom, and under which licences
sbom:
	deploy/sbom/run

## make bench        the benchmarks beside the code
bench:
	go test -run '^$$' -bench . -benchmem ./...
