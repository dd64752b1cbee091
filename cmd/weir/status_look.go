package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/weir-risk/weir/ingest"
)

// statusReport is one look at all nodes.
type statusReport struct {
	OK       bool         `json:"ok"`
	At       time.Time    `json:"at"`
	Problems []string     `json:"problems"`
	Nodes    []statusNode `json:"nodes"`

	Decisions map[string]int64 `json:"decisions,omitempty"` // by outcome, of all nodes since their start
	Rate      float64          `json:"decisions_per_second"`
	Lag       map[string]int64 `json:"lag,omitempty"` // of the source, by partition
	LagFrom   string           `json:"lag_from,omitempty"`

	Champion   string     `json:"champion,omitempty"`
	Challenger string     `json:"challenger,omitempty"`
	HistoryLag *int64     `json:"history_lag,omitempty"`
	HistoryUp  *bool      `json:"history_up,omitempty"`
	Snapshot   *time.Time `json:"oldest_snapshot,omitempty"`
	Desk       *deskState `json:"desk,omitempty"`

	Kafka *kafkaState `json:"kafka,omitempty"`
}

// deskState is what waits at the desk.
type deskState struct {
	Alerts map[string]int64 `json:"alerts"` // by state
	Late   int64            `json:"late"`
	Oldest *time.Time       `json:"oldest_open,omitempty"`
	Behind int64            `json:"behind"` // records that the pages do not show yet
}

// kafkaState is what the brokers say.
type kafkaState struct {
	OK      bool             `json:"ok"`
	Error   string           `json:"error,omitempty"`
	Group   string           `json:"group"`
	Members int              `json:"members"`
	Lag     map[string]int64 `json:"lag,omitempty"`
	Ledger  int64            `json:"ledger_end"`
}

// statusNode is a process, as it says itself.
type statusNode struct {
	Node    string       `json:"node"`
	OK      bool         `json:"ok"`
	Error   string       `json:"error,omitempty"`
	Version string       `json:"version,omitempty"`
	Owner   bool         `json:"decides"`
	Halted  string       `json:"halted,omitempty"`
	Roles   []statusRole `json:"roles,omitempty"`

	metrics samples
	decided float64 // in all
	at      time.Time
}

// statusRole is one of the roles of a process.
type statusRole struct {
	Role   string `json:"role"`
	Ready  bool   `json:"ready"`
	Reason string `json:"reason,omitempty"`
}

// look asks everybody at once.
func (s *statusRun) look(ctx context.Context) *statusReport {
	r := &statusReport{Problems: []string{}, Nodes: make([]statusNode, len(s.nodes))}
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	var all sync.WaitGroup
	for i, at := range s.nodes {
		all.Go(func() { r.Nodes[i] = s.ask(ctx, at) })
	}
	if s.client != nil {
		all.Go(func() { r.Kafka = s.askKafka(ctx) })
	}
	all.Wait()
	r.At = time.Now().UTC()
	r.add()
	r.Rate = rate(s.before, r.Nodes)
	s.before = r.Nodes
	r.judge()
	return r
}

// rate is how many decisions a second the nodes made between two looks. Of a process that
// has started in between nothing is known.
func rate(before, now []statusNode) (perSecond float64) {
	for i, n := range now {
		if i < len(before) && before[i].OK && n.OK && n.decided >= before[i].decided && n.at.After(before[i].at) {
			perSecond += (n.decided - before[i].decided) / n.at.Sub(before[i].at).Seconds()
		}
	}
	return perSecond
}

// scheme is what nodes are asked over.
func (s *statusRun) scheme() string {
	if s.ca != "" {
		return "https://"
	}
	return "http://"
}

// ask asks one node.
func (s *statusRun) ask(ctx context.Context, at string) statusNode {
	n := statusNode{Node: at}
	body, err := s.get(ctx, s.scheme()+at+"/metrics")
	if err == nil {
		n.at = time.Now()
		n.metrics, err = readSamples(body)
	}
	var ready struct{ Reason string }
	if err == nil {
		body, err = s.get(ctx, s.scheme()+at+"/readyz")
		_ = json.Unmarshal(body, &ready) // one that is none has no reason
	}
	if err != nil {
		n.Error = brief(err)
		return n
	}
	n.OK = true
	n.read(ready.Reason)
	if len(n.Roles) == 0 {
		n.OK, n.Error = false, "it is no role of weir"
	}
	return n
}

// statusBytesMax bounds what is read of a node's answer.
const statusBytesMax = 16 << 20

func (s *statusRun) get(ctx context.Context, address string) (body []byte, err error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	a, err := s.http.Do(q)
	if err != nil {
		return nil, err
	}
	defer a.Body.Close()
	body, err = io.ReadAll(io.LimitReader(a.Body, statusBytesMax))
	if err == nil && a.StatusCode != http.StatusOK && a.StatusCode != http.StatusServiceUnavailable {
		err = fmt.Errorf("it answers %d", a.StatusCode)
	}
	return body, err
}

// brief says what is wrong in a few words, where it is one of the usual things.
func brief(err error) string {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nobody listens there"
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	}
	if asked := (*url.Error)(nil); errors.As(err, &asked) {
		err = asked.Err // without the address, which the row has
	}
	return err.Error()
}

// samples are the values of a process's metrics, by name.
type samples map[string][]*dto.Metric

func readSamples(body []byte) (samples, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("its metrics cannot be read: %w", err)
	}
	all := make(samples)
	for name, f := range families {
		all[name] = f.GetMetric()
	}
	return all, nil
}

// value returns what a sample says, whatever its type.
func value(m *dto.Metric) float64 {
	switch {
	case m.Gauge != nil:
		return m.GetGauge().GetValue()
	case m.Counter != nil:
		return m.GetCounter().GetValue()
	}
	return m.GetUntyped().GetValue()
}

func label(m *dto.Metric, name string) string {
	for _, p := range m.GetLabel() {
		if p.GetName() == name {
			return p.GetValue()
		}
	}
	return ""
}

// one returns the value of a metric without labels.
func (s samples) one(name string) (float64, bool) {
	if len(s[name]) == 0 {
		return 0, false
	}
	return value(s[name][0]), true
}

// by sums a metric by the values of one of its labels.
func (s samples) by(name, by string) map[string]int64 {
	sums := make(map[string]int64)
	for _, m := range s[name] {
		sums[label(m, by)] += int64(value(m))
	}
	return sums
}

// set returns a label of the sample that is 1, of a metric that names something so.
func (s samples) set(name, of string, where ...string) string {
	for _, m := range s[name] {
		if value(m) == 1 && (len(where) == 0 || label(m, where[0]) == where[1]) {
			return label(m, of)
		}
	}
	return ""
}

// read takes what the metrics say of the process itself.
func (n *statusNode) read(reason string) {
	if len(n.metrics["weir_build_info"]) > 0 {
		n.Version = n.metrics.set("weir_build_info", "version")
	}
	owner, _ := n.metrics.one("weir_owner")
	n.Owner, n.Halted = owner == 1, n.metrics.set("weir_halted", "reason")
	for _, decided := range n.metrics.by("weir_decisions_total", "outcome") {
		n.decided += float64(decided)
	}
	for role, ready := range n.metrics.by("weir_ready", "role") {
		n.Roles = append(n.Roles, statusRole{Role: role, Ready: ready == 1})
	}
	order := []string{roleScore, roleRecord, roleDesk, roleTrain}
	slices.SortFunc(n.Roles, func(a, b statusRole) int {
		return cmp.Or(cmp.Compare(slices.Index(order, a.Role), slices.Index(order, b.Role)), cmp.Compare(a.Role, b.Role))
	})
	// /readyz is that of the scorer where there is one, and of the one role elsewhere.
	for i := range n.Roles {
		switch r := &n.Roles[i]; {
		case r.Ready:
		case i == 0 && n.Halted != "":
			r.Reason = "halted, " + n.Halted + ": " + reason
		case i == 0:
			r.Reason = reason
		default:
			r.Reason = "the log of this process says why"
		}
	}
}

// add sums up what the nodes say. Who decides knows of the source and of the models; where
// nobody does, any scorer.
func (r *statusReport) add() {
	var scorer *statusNode
	for i := range r.Nodes {
		n := &r.Nodes[i]
		if !n.OK {
			continue
		}
		if slices.ContainsFunc(n.Roles, func(x statusRole) bool { return x.Role == roleScore }) {
			if scorer == nil || n.Owner {
				scorer = n
			}
			if at := timeOf(n.metrics, "weir_snapshot_timestamp_seconds"); at != nil && (r.Snapshot == nil || at.Before(*r.Snapshot)) {
				r.Snapshot = at
			}
			if r.Decisions == nil {
				r.Decisions = make(map[string]int64)
			}
			for outcome, count := range n.metrics.by("weir_decisions_total", "outcome") {
				r.Decisions[outcome] += count
			}
		}
		r.addHistory(n.metrics)
		if len(n.metrics["weir_desk_alerts"]) > 0 {
			late, _ := n.metrics.one("weir_desk_late_alerts")
			r.Desk = &deskState{Alerts: n.metrics.by("weir_desk_alerts", "state"), Late: int64(late), Oldest: timeOf(n.metrics, "weir_desk_oldest_alert_timestamp_seconds")}
			for _, lag := range n.metrics.by("weir_desk_lag", "topic") {
				r.Desk.Behind += lag
			}
		}
	}
	if scorer != nil {
		r.Champion = scorer.metrics.set("weir_model_info", "bundle", "slot", "champion")
		r.Challenger = scorer.metrics.set("weir_model_info", "bundle", "slot", "challenger")
		if scorer.Owner {
			r.Lag, r.LagFrom = scorer.metrics.by("weir_source_lag", "partition"), "the scorer"
		}
	}
	if r.Kafka != nil && r.Kafka.OK {
		r.Lag, r.LagFrom = r.Kafka.Lag, "Kafka"
	}
}

func (r *statusReport) addHistory(m samples) {
	up, ok := m.one("weir_history_up")
	if !ok {
		return
	}
	answers, behind := up == 1 && (r.HistoryUp == nil || *r.HistoryUp), int64(0)
	if r.HistoryLag != nil {
		behind = *r.HistoryLag
	}
	for _, lag := range m.by("weir_history_lag", "stream") {
		behind += lag
	}
	r.HistoryUp, r.HistoryLag = &answers, &behind
}

// timeOf is a metric that is a time, nil where it is not there or 0.
func timeOf(m samples, name string) *time.Time {
	seconds, ok := m.one(name)
	if !ok || seconds == 0 {
		return nil
	}
	at := time.UnixMilli(int64(seconds * 1000)).UTC()
	return &at
}

// judge says what is not well.
func (r *statusReport) judge() {
	scorers, decides := 0, false
	for _, n := range r.Nodes {
		if !n.OK {
			r.Problems = append(r.Problems, n.Node+" does not answer as a role of weir does: "+n.Error)
		}
		for _, role := range n.Roles {
			if role.Role == roleScore {
				scorers++
			}
			if !role.Ready {
				r.Problems = append(r.Problems, fmt.Sprintf("%s: %s is not ready: %s", n.Node, role.Role, cmp.Or(role.Reason, "it does not say why")))
			}
		}
		decides = decides || n.Owner
	}
	if scorers > 0 && !decides {
		r.Problems = append(r.Problems, "none of the scorers asked decides")
	}
	if r.HistoryUp != nil && !*r.HistoryUp {
		r.Problems = append(r.Problems, "the history does not answer")
	}
	if r.Kafka != nil && !r.Kafka.OK {
		r.Problems = append(r.Problems, "Kafka: "+r.Kafka.Error)
	}
	r.OK = len(r.Problems) == 0
}

// askKafka asks the brokers how far the group has come.
func (s *statusRun) askKafka(ctx context.Context) *kafkaState {
	k := &kafkaState{Group: s.group, Lag: make(map[string]int64)}
	if err := s.askGroup(ctx, k); err != nil {
		k.Error = err.Error()
		if errors.Is(err, context.DeadlineExceeded) {
			k.Error = "no answer in time"
		}
		return k
	}
	k.OK = true
	return k
}

func (s *statusRun) askGroup(ctx context.Context, k *kafkaState) error {
	topics := s.kafka.topics()
	source, err := s.client.Describe(ctx, topics.Transactions)
	if err != nil {
		return err
	}
	committed, err := s.client.Committed(ctx, ingest.ProgressGroup(s.group), topics.Transactions, source.Partitions)
	if err != nil {
		return err
	}
	for p := range int32(source.Partitions) {
		begin, end, err := s.client.Offsets(ctx, topics.Transactions, p)
		if err != nil {
			return err
		}
		k.Lag[strconv.Itoa(int(p))] = max(0, end-max(begin, committed[p]))
	}
	ledger, err := s.client.Describe(ctx, topics.Decisions)
	if err != nil {
		return err
	}
	for shard := range int32(ledger.Partitions) {
		_, end, err := s.client.Offsets(ctx, topics.Decisions, shard)
		if err != nil {
			return err
		}
		k.Ledger += end
	}
	k.Members, err = s.client.Members(ctx, s.group)
	return err
}

// sum adds up what there is of each.
func sum(of map[string]int64) (total int64) {
	for v := range maps.Values(of) {
		total += v
	}
	return total
}
