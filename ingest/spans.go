package ingest

import (
	"time"

	"github.com/weir-risk/weir/ingest/history"
	"github.com/weir-risk/weir/ingest/trace"
	"github.com/weir-risk/weir/schemas"
)

// traceDecisions sends the spans of a step's sampled transactions, once it is durable.
func (n *Node) traceDecisions(f *flight, durable time.Time) {
	base := f.end - int64(f.facts.Records)
	var e schemas.Entry
	for _, i := range f.out.traced {
		if err := schemas.ParseEntry(f.out.record(int(i)), &e); err != nil {
			panic("BUG: own decision cannot be read: " + err.Error())
		}
		d := &e.Decision
		sent := time.UnixMilli(d.Timestamp)
		n.Trace.Add(trace.Span{
			Kind: trace.Transaction, Place: d.Place, Start: sent, End: durable, Shard: f.shard, Ledger: base + int64(i), Link: n.Trace.Sender(&d.Place),
			Decision: trace.Decision{Verdict: d.Verdict, Action: d.Action, Score: d.Score, Probability: d.Prob, Bundle: d.Bundle},
		})
		n.Trace.Add(trace.Span{Kind: trace.Wait, Place: d.Place, Start: sent, End: f.began})
		n.Trace.Add(trace.Span{Kind: trace.Step, Place: d.Place, Start: f.began, End: f.decided, Records: f.out.records()})
		n.Trace.Add(trace.Span{Kind: trace.Publish, Place: d.Place, Start: f.decided, End: durable})
	}
}

// traceAlerts sends the spans of alerts that were acknowledged just now.
func (n *Node) traceAlerts(spans []trace.Span) {
	if len(spans) == 0 {
		return
	}
	now := n.Now()
	for _, s := range spans {
		s.End = now
		n.Trace.Add(s)
	}
}

// traceBlock sends the spans of a block of the ledger that was written just now.
func (r *Recorder) traceBlock(b *history.Block) {
	if r.Trace == nil || b.Stream != history.Ledger {
		return
	}
	now := r.Now()
	b.Decisions(func(d *schemas.Decision, timestamp int64) {
		if r.Trace.Sampled(&d.Place) {
			r.Trace.Add(trace.Span{Kind: trace.History, Place: d.Place, Start: time.UnixMilli(timestamp), End: now, Records: b.Records()})
		}
	})
}
