package desk

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/history"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
)

// onRecord is a history that has one decision, at each place.
type onRecord struct {
	fakePast
	decision schemas.Decision
	batch    schemas.Facts
	err      error
}

func (o *onRecord) Record(_ context.Context, _ int32, offset int64) (history.Record, error) {
	return history.Record{Offset: offset, Value: schemas.AppendDecision(nil, &o.decision), Base: offset - 1, Facts: o.batch}, o.err
}

// recorded is a decision by the payments spec, its bundle's margins, and the history
// that has it.
func (f *floor) recorded() (*onRecord, *spec.Spec, *scoring.Bundle) {
	f.t.Helper()
	s, ok := spec.Builtin("payments")
	if !ok {
		f.t.Fatal("no payments spec")
	}
	o := &onRecord{batch: schemas.Facts{ID: schemas.BatchID{Writer: 0xabc, Sequence: 42}, Spec: s.Hash, Bundle: [32]byte{1, 2, 3}}}
	d := &o.decision
	d.Tx = schemas.Transaction{Time: f.clock().UnixMilli(), Amount: 41250, AmountBase: 41250}
	d.Text[schemas.Currency], d.Text[schemas.Merchant] = []byte("EUR"), []byte("<b>shop</b> 4111111111111111")
	d.Spec, d.Bundle, d.Score = schemas.HashPrefix(s.Hash), schemas.HashPrefix(o.batch.Bundle), .75
	b := &scoring.Bundle{Profile: &scoring.Profile{}}
	for i, x := range s.Features {
		d.Features = append(d.Features, float32(i))
		b.Features = append(b.Features, x.Name)
		b.Profile.Features = append(b.Profile.Features, scoring.Margin{Edges: []float32{10, 20, 30, 40}, Shares: []float32{.1, .2, .3, .3, .08, .02}})
	}
	b.Profile.Features[5] = scoring.Margin{Edges: []float32{1}, Shares: []float32{.7, .3, 0}}
	d.Features[0], d.Features[1] = 412.5, float32(math.NaN())
	f.server.options.History, f.server.options.Receipts.Spec = o, s
	return o, s, b
}

// TestEveryFeatureIsShown holds the page of features to the vector, the spec and the
// training.
func TestEveryFeatureIsShown(t *testing.T) {
	f := newFloor(t)
	id := f.raise("card-a", "shop", 1000, .9)
	_, s, b := f.recorded()
	f.server.options.Receipts.Bundle = func(_ context.Context, prefix uint64) (*scoring.Bundle, error) {
		if prefix != schemas.HashPrefix([32]byte{1, 2, 3}) {
			return nil, errors.New("another one")
		}
		return b, nil
	}
	page := f.analyst("ann", Analyst).get("/alerts/"+id+"/features").is(t, http.StatusOK)
	for _, x := range s.Features {
		if !strings.Contains(page.body, "<code>"+x.Name+"</code>") || !strings.Contains(page.body, "<h2>"+x.Group+"</h2>") {
			t.Errorf("%s of %s is not shown", x.Name, x.Group)
		}
	}
	page.shows(t, "412.50 EUR", `title="412.5, bits 43ce4000"`, "among the highest 8 %", "missing, like 2 %", "10.00 EUR to 40.00 EUR",
		"amount, in times this customer&#39;s geometric mean amount", "8 times", "no in 70 %", "this card&#39;s 1-hour number of payments", "above 10 %, below 69 %")
	if n := len(page.body); n > 60_000 {
		t.Errorf("%d bytes", n)
	}
	f.server.options.Receipts.Bundle = func(context.Context, uint64) (*scoring.Bundle, error) { return nil, errors.New("no broker") }
	f.browser().enters("ann").get("/alerts/"+id+"/features").is(t, http.StatusOK, "is not at hand", "412.50 EUR")
	f.server.options.Receipts.Bundle, f.server.options.Receipts.Spec = nil, nil
	f.browser().enters("ann").get("/alerts/"+id+"/features").is(t, http.StatusOK, "weir desk --trust FILE", "The spec that decided is not at hand", "feature 68")
}

// TestTheReceiptIsTheRecord holds page and file to the record, to the bit.
func TestTheReceiptIsTheRecord(t *testing.T) {
	f := newFloor(t)
	id := f.raise("card-a", "shop", 1000, .9)
	o, _, _ := f.recorded()
	ann := f.analyst("ann", Analyst)
	page := ann.get("/alerts/"+id+"/receipt").is(t, http.StatusOK, "0.75  bits 3f400000", "0000000000000abc, 42", "010203000000", "<code>amount_ratio</code>",
		"&lt;b&gt;shop&lt;/b&gt; 411111******1111", "NaN", "7fc00000", "weir desk --history URL --trust FILE")
	if strings.Contains(page.body, "4111111111111111") || strings.Contains(page.body, "<b>shop") {
		t.Error(page.body)
	}
	file := ann.get("/alerts/"+id+"/receipt.json").is(t, http.StatusOK)
	if e := f.lastEntry(); e.What != schemas.AuditExported || string(e.Of) != "/alerts/"+id+"/receipt.json" {
		t.Errorf("audited is %+v", e)
	}
	var out receiptJSON
	if err := json.Unmarshal([]byte(file.body), &out); err != nil || out.Record != "" || strings.Contains(file.body, "4111111111111111") || len(out.Features) != 68 || out.Features[1].Value != nil {
		t.Errorf("%v: %s", err, file.body)
	}
	if out.Numbers["score"].Bits != "3f400000" || out.Batch.Sequence != 42 || out.Fields["merchant"] != "<b>shop</b> 411111******1111" || !strings.Contains(file.Header.Get("Content-Disposition"), id+".json") {
		t.Errorf("%+v", out)
	}
	o.decision.Text[schemas.Merchant] = []byte("shop")
	if err := json.Unmarshal([]byte(ann.get("/alerts/"+id+"/receipt.json").body), &out); err != nil {
		t.Fatal(err)
	}
	if got, err := base64.StdEncoding.DecodeString(out.Record); err != nil || string(got) != string(schemas.AppendDecision(nil, &o.decision)) {
		t.Errorf("the record is %x, %v", got, err)
	}
	o.err = history.ErrNoRecord
	ann.get("/alerts/"+id+"/receipt").is(t, http.StatusNotFound, "does not hold this decision")
	o.err = errors.New("disk on fire")
	ann.get("/alerts/"+id+"/receipt").is(t, http.StatusServiceUnavailable, "could not be read")
	f.server.options.History = nil
	for _, path := range []string{"/receipt", "/receipt.json", "/features"} {
		ann.get("/alerts/"+id+path).is(t, http.StatusNotFound, "weir desk --history URL")
	}
}

// TestRecomputing shows what came of it, is audited, bounded in time, and done once at
// a time.
func TestRecomputing(t *testing.T) {
	f := newFloor(t)
	id := f.raise("card-a", "shop", 1000, .9)
	f.recorded()
	ann := f.analyst("ann", Auditor)
	again := func() answer { return ann.do("POST", "/alerts/"+id+"/receipt", url.Values{}) }
	again().is(t, http.StatusNotFound, "--trust FILE")
	list := []Check{{"the score", CheckEqual, "the same bits"}}
	o := &f.server.options.Receipts
	o.Recompute = func(_ context.Context, shard int32, offset int64) ([]Check, error) {
		if shard != 0 || offset != 0 {
			t.Errorf("recomputes %d-%d", shard, offset)
		}
		return list, nil
	}
	again().is(t, http.StatusOK, "Equal: every bit", "the same bits")
	if e := f.lastEntry(); e.What != schemas.AuditViewed || string(e.Of) != "/alerts/"+id+"/receipt recomputed" {
		t.Errorf("audited is %+v", e)
	}
	list = append(list, Check{"the features", CheckNot, "too many"})
	again().is(t, http.StatusOK, "not everything was", "too many")
	list = append(list, Check{"the amount", CheckDifferent, "recorded 1, recomputed 2"})
	again().is(t, http.StatusOK, "Not equal", "recorded 1, recomputed 2")

	begun, hold := make(chan struct{}), make(chan struct{})
	o.Recompute = func(context.Context, int32, int64) ([]Check, error) {
		begun <- struct{}{}
		<-hold
		return list, nil
	}
	first := make(chan answer)
	go func() { first <- again() }()
	<-begun
	f.browser().enters("ann").do("POST", "/alerts/"+id+"/receipt", url.Values{}).is(t, http.StatusTooManyRequests, "one at a time")
	close(hold)
	(<-first).is(t, http.StatusOK, "Not equal")

	o.Within = time.Millisecond
	o.Recompute = func(ctx context.Context, _ int32, _ int64) ([]Check, error) { <-ctx.Done(); return nil, ctx.Err() }
	again().is(t, http.StatusServiceUnavailable, "given up", "weir verify")
	o.Within = time.Minute
	o.Recompute = func(context.Context, int32, int64) ([]Check, error) { return nil, errors.New("disk on fire") }
	last := again()
	for last.StatusCode == http.StatusTooManyRequests { // the one that was given up lets go in a moment
		last = again()
	}
	if page := last.is(t, http.StatusServiceUnavailable, "could not be recomputed"); strings.Contains(page.body, "fire") {
		t.Error("the page tells the cause")
	}
}

// TestAmong: where a number lies among the training's, in words.
func TestAmong(t *testing.T) {
	for _, c := range []struct {
		edges, shares []float32
		v             float32
		usual, where  string
		far           bool
	}{
		{[]float32{10, 20, 30}, []float32{.1, .4, .4, .1, 0}, 5, "10 to 30", "among the lowest 10 %", true},
		{[]float32{10, 20, 30}, []float32{.1, .4, .4, .1, 0}, 10, "10 to 30", "like 40 %", false},
		{[]float32{10, 20, 30}, []float32{.1, .4, .4, .1, 0}, 30, "10 to 30", "among the highest 10 %", true},
		{[]float32{1, 2, 3, 4, 5}, []float32{.2, .2, .2, .2, .1, .1, 0}, 2.5, "1 to 4", "above 40 %, below 40 %", false},
		{[]float32{2}, []float32{.84, .16, 0}, 1, "under 2", "like 84 %", false},
		{[]float32{2}, []float32{.5, .5, 0}, 1, "under 2 in 50 %", "like 50 %", false},
		{[]float32{2}, []float32{.1, .9, 0}, 1, "2 or more", "among the lowest 10 %", true},
		{nil, []float32{1, 0}, 7, "hardly differs", "like 100 %", false},
		{nil, []float32{0, 1}, 7, "nearly always missing", "seldom there in the training", true},
		{[]float32{2}, []float32{.5, .3, .2}, float32(math.NaN()), "under 2 in 63 %", "missing, like 20 %", false},
	} {
		m := scoring.Margin{Edges: c.edges, Shares: c.shares}
		usual, where, far := among(&m, c.v, exact)
		if usual != c.usual || where != c.where || far != c.far {
			t.Errorf("%g in %v: %q, %q, %v; want %q, %q, %v", c.v, m, usual, where, far, c.usual, c.where, c.far)
		}
	}
}
