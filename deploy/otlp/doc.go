// Package otlp sends the traces of weir's processes to the OTLP receiver of the
// OpenTelemetry Collector, which reads them by its own code. It is a module of its own,
// since the Collector and all that it brings is of no use to weir; deploy/otlp/run builds
// weir for it.
package otlp
