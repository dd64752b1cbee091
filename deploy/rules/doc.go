// Package rules holds the alert rules of deploy/prometheus, the dashboards of
// deploy/grafana and the pages of deploy/runbooks to each other and to the metrics that
// weir exports. It is a module of its own, so that nothing of Prometheus or Grafana gets
// into the binary.
//
//	expression_test.go   what an expression may name: parsed by Prometheus' own parser
//	rules_test.go        every rule: its expression, its texts, its page
//	dashboards_test.go   every dashboard: its form, its expressions, where its panels lie
//	alerts_test.go       real Prometheus, Kafka and ClickHouse: alerts fire and clear
//	incidents_test.go    who pays, who makes models, who is at the desk there
//	places_test.go       disks that fill and hang there
//	cluster_test.go      the processes, and what Prometheus is asked
//
// check runs what needs no server, and promtool; alerts starts the servers.
package rules
