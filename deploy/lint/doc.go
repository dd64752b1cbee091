// Package lint holds what weir is deployed with to what it is for: compose.yaml to a
// parser of Compose, the chart to helm and to the schemas of Kubernetes, and both to weir
// itself, which says which settings, commands and keys it knows. Its tests also plant one
// mistake of each kind in a copy, and want it found. It is a module of its own, since helm
// and all that it brings is of no use to weir; deploy/lint/run builds what it needs.
package lint
