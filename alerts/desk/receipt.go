package desk

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/weir-risk/weir/alerts"
	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/history"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
)

// Receipts are what proves decisions and says what is in them; what is nil, the pages
// do without.
type Receipts struct {
	Spec *spec.Spec // that decides now
	// Bundle finds a bundle by what decisions call it.
	Bundle func(ctx context.Context, prefix uint64) (*scoring.Bundle, error)
	// Recompute recomputes the decision at a place of the ledger.
	Recompute func(ctx context.Context, shard int32, offset int64) ([]Check, error)
	Within    time.Duration // how long that may take, 20 s if it is 0
}

// A Check is one comparison of a decision as it is recorded with what it is recomputed
// as.
type Check struct {
	What    string `json:"what"`
	Outcome string `json:"outcome"` // CheckEqual, CheckDifferent or CheckNot
	Words   string `json:"words"`
}

// The outcomes of a [Check].
const (
	CheckEqual     = "equal"
	CheckDifferent = "different"
	CheckNot       = "not compared"
)

// receiptRoutes are the pages of one decision.
func (s *Server) receiptRoutes() []route {
	return []route{
		{pattern: "GET /alerts/{id}/features", roles: desk, handle: s.featurePage, of: address},
		{pattern: "GET /alerts/{id}/receipt", roles: desk, handle: s.receipt, of: address},
		{pattern: "GET /alerts/{id}/receipt.json", roles: desk, handle: s.receiptFile, of: address, act: schemas.AuditExported},
		{pattern: "POST /alerts/{id}/receipt", roles: desk, handle: s.recompute,
			of: func(r *http.Request) string { return address(r) + " recomputed" }},
	}
}

// decided is a decision with what the ledger says of it.
type decided struct {
	item     alerts.Item
	record   history.Record
	decision schemas.Decision
}

// decided finds the decision of an alert in the history. Its errors are for people.
func (s *Server) decided(r *http.Request) (d decided, err error) {
	if d.item, err = s.find(r, r.PathValue("id")); err != nil {
		return d, err
	}
	store := s.options.History
	if store == nil {
		return d, problemf(http.StatusNotFound, "The record of a decision is in the history, and this desk was given none: weir desk --history URL names one.")
	}
	d.record, err = ask(r.Context(), s, func(ctx context.Context) (history.Record, error) {
		return store.Record(ctx, d.item.Shard, d.item.Offset)
	})
	switch {
	case errors.Is(err, history.ErrNone):
		return d, problemf(http.StatusNotFound, "The record of a decision is in the history, and there is none yet: weir record writes it, and then it is here.")
	case errors.Is(err, history.ErrNoRecord):
		return d, problemf(http.StatusNotFound, "The history does not hold this decision. It may be written in a moment; if it stays so, tell whoever runs weir that the history lacks offset %d of partition %d.", d.item.Offset, d.item.Shard)
	case errors.Is(err, errLate):
		return d, problemf(http.StatusServiceUnavailable, "The history did not answer in time, and the record of a decision is there. Load the page anew in a while; if it stays so, tell whoever runs weir.")
	case err != nil:
		s.options.Log.Warn("history away", "alert", string(d.item.ID), "cause", err)
		return d, problemf(http.StatusServiceUnavailable, "The history could not be read, and the record of a decision is there. The desk's log says why. Nothing is lost: load the page anew in a while.")
	}
	var e schemas.Entry
	if err := schemas.ParseEntry(d.record.Value, &e); err != nil || e.Kind != schemas.EntryDecision {
		return d, problemf(http.StatusNotFound, "At this alert's place of the ledger the history has no decision. Alert and history are of different weirs.")
	}
	d.decision = e.Decision
	return d, nil
}

// receiptPage is what receipt.html shows.
type receiptPage struct {
	ID, Amount, Time      string
	Groups                []receiptGroup
	Vector                []vectorRow
	NoVector              string
	Checks                []Check
	Verdict, VerdictClass string // of all checks
	Took                  string
	MayRecompute          bool
}

type receiptGroup struct {
	Name  string
	Facts []fact
}

type vectorRow struct{ Number, Name, Value, Bits string }

// receipt shows the record of a decision.
func (s *Server) receipt(w http.ResponseWriter, r *http.Request) error {
	d, err := s.decided(r)
	if err != nil {
		return err
	}
	return s.page(w, r, http.StatusOK, "receipt", s.receiptPage(r.Context(), &d))
}

func (s *Server) receiptPage(ctx context.Context, d *decided) *receiptPage {
	p := &receiptPage{ID: string(d.item.ID), Amount: money(d.decision.Tx.Amount, string(d.decision.Text[schemas.Currency])), Time: fullTime(d.decision.Tx.Time),
		Groups: recordFacts(d), MayRecompute: s.options.Receipts.Recompute != nil}
	about, _ := s.aboutFeatures(ctx, &d.decision)
	for i, x := range d.decision.Features {
		p.Vector = append(p.Vector, vectorRow{strconv.Itoa(i + 1), about.name(i), exact(x), bitsOf(x)})
	}
	if len(p.Vector) == 0 {
		p.NoVector = "No vector was computed: " + d.decision.Outcome.String() + ", " + d.decision.Reason.String() + "."
	}
	return p
}

// recordFacts lists all fields of a record, and where it lies.
func recordFacts(d *decided) []receiptGroup {
	x, f := &d.decision, &d.record.Facts
	payment := []fact{{"time", fullMs(x.Tx.Time)}, {"amount, minor units", strconv.FormatInt(x.Tx.Amount, 10)}, {"amount in the base currency", strconv.FormatInt(x.Tx.AmountBase, 10)},
		{"type", x.Tx.Type.String()}, {"status", x.Tx.Status.String()}}
	for n, text := range x.Text {
		if len(text) > 0 {
			payment = append(payment, fact{schemas.TextField(n).String(), shownText(text)})
		}
	}
	for _, more := range []fact{{"card, under the key before", shownText(x.PrevCard)}, {"tenant", shownText(x.Tenant)}} {
		if more.Value != "" {
			payment = append(payment, more)
		}
	}
	for k, text := range x.OwnText {
		payment = append(payment, fact{"own text " + strconv.Itoa(k+1), shownText(text)})
	}
	for k, v := range x.Own {
		payment = append(payment, fact{"own number " + strconv.Itoa(k+1), strconv.FormatFloat(v, 'g', -1, 64)})
	}
	decision := []fact{{"outcome", x.Outcome.String()}, {"reason", x.Reason.String()}, {"flags", flagWords(x.Flags)}, {"action", x.Action.String()}}
	for _, n := range []struct {
		name string
		v    float32
	}{{"score", x.Score}, {"probability", x.Prob}, {"rank", x.Rank}, {"threshold, on the rank", x.Threshold}, {"review probability", x.ReviewProb}, {"challenger's score", x.ChallengerScore}} {
		decision = append(decision, fact{n.name, exact(n.v) + "  bits " + bitsOf(n.v)})
	}
	sum := sha256.Sum256(d.record.Value)
	return []receiptGroup{
		{"The payment, as it was read", payment},
		{"The decision", append(decision, fact{"arithmetic", x.Arithmetic.String()})},
		{"By what it was decided", []fact{{"bundle", hashOrPrefix(x.Bundle, f.Bundle)}, {"challenger", hashOrPrefix(x.Challenger, f.Bundle)}, {"spec", hashOrPrefix(x.Spec, f.Spec)}, {"engine", hashOrPrefix(x.Engine, f.Engine)}}},
		{"Where it lies", []fact{
			{"ledger", fmt.Sprintf("partition %d, offset %d", d.item.Shard, d.record.Offset)},
			{"batch", fmt.Sprintf("from offset %d on, written %s", d.record.Base, fullMs(d.record.Timestamp))},
			{"writer and sequence", fmt.Sprintf("%016x, %d", f.ID.Writer, f.ID.Sequence)},
			{"extends", fmt.Sprintf("%016x, %d", f.Extends.Writer, f.Extends.Sequence)},
			{"source", fmt.Sprintf("partition %d, offset %d, after %d, written %s", x.Partition, x.Offset, x.Prev, fullMs(x.Timestamp))},
			{"record", fmt.Sprintf("%d bytes, SHA-256 %x", len(d.record.Value), sum)},
		}},
	}
}

// hashOrPrefix writes what a decision calls something, whole where its batch says it.
func hashOrPrefix(prefix uint64, whole [32]byte) string {
	switch {
	case prefix == 0:
		return "none"
	case schemas.HashPrefix(whole) == prefix:
		return hex.EncodeToString(whole[:])
	}
	return fmt.Sprintf("%016x…", prefix)
}

// shownText is a text as it may be shown.
func shownText(text []byte) string { return string(schemas.HideCards(text)) }

func fullMs(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }

// exact writes a number so that it can be read back to the same bits.
func exact(x float32) string { return strconv.FormatFloat(float64(x), 'g', -1, 32) }

func flagWords(f schemas.Flags) string {
	var words []string
	for _, x := range []struct {
		flag schemas.Flags
		word string
	}{{schemas.Approximate, "approximate"}, {schemas.Late, "late"}, {schemas.Explored, "explored"}, {schemas.FoldOnly, "only folded"}} {
		if f&x.flag != 0 {
			words = append(words, x.word)
		}
	}
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}

// recompute recomputes a decision and shows what came of it. It takes all of a
// processor for a while, so that one is recomputed at a time.
func (s *Server) recompute(w http.ResponseWriter, r *http.Request) error {
	if s.options.Receipts.Recompute == nil {
		return problemf(http.StatusNotFound, "This desk cannot recompute decisions: it needs the history, and the keys that bundles are signed with. weir desk --history URL --trust FILE gives them.")
	}
	d, err := s.decided(r)
	if err != nil {
		return err
	}
	began := s.options.Now()
	checks, err := s.checks(r.Context(), &d)
	if err != nil {
		return err
	}
	p := s.receiptPage(r.Context(), &d)
	p.Checks, p.Took = checks, s.options.Now().Sub(began).Round(time.Millisecond).String()
	p.Verdict, p.VerdictClass = "Equal: every bit that was compared is what it should be.", "genuine"
	for _, c := range checks {
		switch {
		case c.Outcome == CheckDifferent:
			p.Verdict, p.VerdictClass = "Not equal: the record is not what the ledger before it and the model give.", "fraud"
		case c.Outcome == CheckNot && p.VerdictClass == "genuine":
			p.Verdict, p.VerdictClass = "Equal as far as it was compared; not everything was.", "open"
		}
	}
	return s.page(w, r, http.StatusOK, "receipt", p)
}

// checks recomputes, bounded in time, if nothing else is being recomputed.
func (s *Server) checks(ctx context.Context, d *decided) ([]Check, error) {
	select {
	case s.recomputing <- struct{}{}:
	default:
		return nil, problemf(http.StatusTooManyRequests, "Another decision is being recomputed, and this desk does one at a time. Go back and try again in some seconds.")
	}
	ctx, cancel := context.WithTimeout(ctx, s.options.Receipts.Within)
	defer cancel()
	type answer struct {
		checks []Check
		err    error
	}
	answers, recompute := make(chan answer, 1), s.options.Receipts.Recompute
	go func() { // ends when the context does, or a little later
		defer func() { <-s.recomputing }()
		list, err := recompute(ctx, d.item.Shard, d.item.Offset)
		answers <- answer{list, err}
	}()
	var a answer
	select {
	case a = <-answers:
	case <-ctx.Done():
		a.err = ctx.Err()
	}
	switch {
	case errors.Is(a.err, context.DeadlineExceeded):
		return nil, problemf(http.StatusServiceUnavailable, "This took more than %v, so it was given up: nothing was found to differ, and not everything was compared. weir verify recomputes the whole ledger.", s.options.Receipts.Within)
	case a.err != nil && ctx.Err() == nil:
		s.options.Log.Warn("decision not recomputed", "alert", string(d.item.ID), "cause", a.err)
		return nil, problemf(http.StatusServiceUnavailable, "The decision could not be recomputed: something that it needs could not be read. The desk's log says what. Nothing is lost: try again in a while.")
	}
	return a.checks, a.err
}
