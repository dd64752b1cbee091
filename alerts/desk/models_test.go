package desk

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-risk/weir/schemas"
)

// A shelf is models on a desk: slots in order, as the topic would hold them.
type shelf struct {
	models map[string]*Model
	slots  []SlotChange // oldest first
	sign   bool
	wrote  []Publication
	before error // of Publish, before it has written
	after  error // and after
	away   error
}

// Three models: a was champion before b, and c challenges.
var hashA, hashB, hashC = strings.Repeat("a", 64), strings.Repeat("b", 64), strings.Repeat("c", 64)

func newShelf() *shelf {
	s := &shelf{models: make(map[string]*Model), sign: true}
	for i, hash := range []string{hashA, hashB, hashC} {
		s.models[hash] = &Model{Hash: hash, Name: []string{"april", "may", "june"}[i], Spec: "payments", Held: []ModelFact{{"Precision", "50 %"}}}
	}
	s.point(championSlot, hashA, 1000)
	s.point(championSlot, hashB, 2000)
	s.point("challenger", hashC, 3000)
	return s
}

func (s *shelf) point(slot, hash string, ms int64) {
	s.slots = append(s.slots, SlotChange{Time: ms, Slot: slot, Hash: hash, Name: s.models[hash].Name, By: "train", Reason: "learnt"})
}

func (s *shelf) Look(context.Context) (*ModelsNow, error) {
	if s.away != nil {
		return nil, s.away
	}
	now := &ModelsNow{MaySign: s.sign, Slots: slices.Clone(s.slots)}
	for _, c := range s.slots {
		if c.Slot != championSlot {
			now.Challenger = s.models[c.Hash]
			continue
		}
		now.Champion, now.Previous, now.Since = s.models[c.Hash], now.Champion, c.Time
	}
	slices.Reverse(now.Slots)
	return now, nil
}

func (s *shelf) Publish(_ context.Context, p Publication) error {
	if s.before != nil {
		return s.before
	}
	s.wrote = append(s.wrote, p)
	s.slots = append(s.slots, SlotChange{Time: p.Time, Slot: championSlot, Hash: p.Bundle, Name: s.models[p.Bundle].Name, By: p.By, Reason: p.Reason})
	return s.after
}

// champion is the name of the one in force.
func (s *shelf) champion() string {
	now, _ := s.Look(context.Background())
	return now.Champion.Name
}

// withShelf is a desk with models, and its two model owners.
func withShelf(t *testing.T, change ...func(*Options)) (*world, *shelf, *browser, *browser) {
	t.Helper()
	s := newShelf()
	w := newWorld(t, append([]func(*Options){func(o *Options) { o.Models, o.Approvals = s, 2 }}, change...)...)
	w.add("mia", ModelOwner)
	w.add("max", ModelOwner)
	return w, s, w.browser().enters("mia"), w.browser().enters("max")
}

func formOf(what, bundle, before string) url.Values {
	return url.Values{"what": {what}, "bundle": {bundle}, "before": {before}, "reason": {"fewer false alarms"}}
}

// proposes sends a proposal and returns its id.
func (b *browser) proposes(what, bundle, before string) string {
	b.w.t.Helper()
	b.w.pass(time.Second)
	b.do("POST", "/models/proposals", formOf(what, bundle, before)).is(b.w.t, http.StatusSeeOther)
	list, err := b.w.accounts.proposals(b.w.t.Context(), `true`, 1)
	if err != nil || len(list) != 1 {
		b.w.t.Fatal(list, err)
	}
	return list[0].ID
}

func (b *browser) decides(id, act string) answer {
	b.w.t.Helper()
	return b.do("POST", "/models/proposals/"+id, url.Values{"act": {act}})
}

// state is where a proposal stands.
func (w *world) state(id string) string {
	w.t.Helper()
	p, err := w.accounts.proposal(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return p.State
}

// audited are the acts of the audit log that are about models, as "who what: detail",
// without the ids of proposals.
func (w *world) audited() (list []string) {
	w.t.Helper()
	if err := w.accounts.Drain(w.t.Context(), w.audit); err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.entries {
		if strings.HasPrefix(string(e.Of), "model ") {
			list = append(list, regexp.MustCompile(`\b[0-9a-f]{12}\b`).ReplaceAllString(fmt.Sprintf("%s %s %.9s: %s", e.Who, e.What, e.Of, e.Detail), "ID"))
		}
	}
	return list
}

// TestTwoModelOwnersPromote walks a proposal through, and one back.
func TestTwoModelOwnersPromote(t *testing.T) {
	w, s, mia, max := withShelf(t)
	mia.get("/models").is(t, http.StatusOK, "may decides", "Promote the challenger", "Roll back", "june in place of may", "april in place of may", "Another model owner has to approve it before anything changes")
	id := mia.proposes("promote", hashC, hashB)
	if s.champion() != "may" || w.state(id) != proposalOpen {
		t.Fatal("a proposal takes effect unapproved")
	}
	mia.get("/models").is(t, http.StatusOK, "mia proposes to promote june", "<q>fewer false alarms</q>", "Withdraw")
	max.get("/models").is(t, http.StatusOK, "Approve: promote june", "Decline")
	mia.decides(id, "approve").is(t, http.StatusForbidden, "You proposed it")
	mia.decides(id, "decline").is(t, http.StatusBadRequest)
	max.decides(id, "withdraw").is(t, http.StatusBadRequest)
	max.do("POST", "/models/proposals", formOf("rollback", hashA, hashB)).is(t, http.StatusConflict, "Another proposal is open")
	w.pass(time.Minute)
	max.decides(id, "approve").is(t, http.StatusSeeOther)
	if s.champion() != "june" || w.state(id) != proposalDone {
		t.Fatalf("approved, the champion is %s and the proposal %s", s.champion(), w.state(id))
	}
	if want := (Publication{Bundle: hashC, Previous: hashB, By: "mia, approved by max", Reason: "fewer false alarms", Time: w.clock().UnixMilli(), PreviousMs: 2000}); s.wrote[0] != want {
		t.Errorf("published is %+v, want %+v", s.wrote[0], want)
	}
	max.decides(id, "approve").is(t, http.StatusConflict, "decided already")
	mia.get("/models").is(t, http.StatusOK, "june decides", "Proposals before", "done", "by max")
	back := max.proposes("rollback", hashB, hashC)
	mia.decides(back, "approve").is(t, http.StatusSeeOther)
	if s.champion() != "may" || len(s.wrote) != 2 {
		t.Errorf("rolled back, the champion is %s", s.champion())
	}
	want := []string{"mia changed model ccc: proposes to promote june in place of bbbbbbbbbbbbbbbb, proposal ID: fewer false alarms",
		"mia denied model ccc: wanted to approve the own proposal ID",
		"max approved model ccc: approved: mia proposes to promote june in place of bbbbbbbbbbbbbbbb, proposal ID",
		"max changed model bbb: proposes to roll back to may in place of cccccccccccccccc, proposal ID: fewer false alarms",
		"mia approved model bbb: approved: max proposes to roll back to may in place of cccccccccccccccc, proposal ID",
		"max changed model ccc: champion is june, in place of bbbbbbbbbbbbbbbb, proposal ID", "mia changed model bbb: champion is may, in place of cccccccccccccccc, proposal ID"}
	if got := w.audited(); !slices.Equal(got, want) {
		t.Errorf("audited are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestNothingIsChangedUnaudited: where the audit log is away, nobody proposes, and
// nobody approves.
func TestNothingIsChangedUnaudited(t *testing.T) {
	w, s, mia, max := withShelf(t)
	id := mia.proposes("promote", hashC, hashB)
	w.away = errors.New("no broker")
	for _, act := range []string{"approve", "decline"} {
		max.decides(id, act).is(t, http.StatusServiceUnavailable)
	}
	if w.state(id) != proposalOpen || s.champion() != "may" {
		t.Error("decided, and not audited")
	}
	w.away = nil
	mia.decides(id, "withdraw").is(t, http.StatusSeeOther)
	w.away = errors.New("no broker")
	mia.do("POST", "/models/proposals", formOf("promote", hashC, hashB)).is(t, http.StatusServiceUnavailable)
	if list, _ := w.accounts.proposals(t.Context(), `true`, 9); len(list) != 1 || list[0].State != proposalWithdrawn {
		t.Errorf("%+v", list)
	}
}

// TestStaleProposals: who has another champion before their eyes than there is decides
// nothing, also where the same bundle came back.
func TestStaleProposals(t *testing.T) {
	w, s, mia, max := withShelf(t)
	mia.do("POST", "/models/proposals", formOf("promote", hashC, hashA)).is(t, http.StatusConflict, "the champion is may (bbbbbbbbbbbbbbbb)")
	mia.do("POST", "/models/proposals", formOf("promote", hashA, hashB)).is(t, http.StatusConflict, "Nothing was done")
	id := mia.proposes("promote", hashC, hashB)
	s.point(championSlot, hashA, 5000)
	max.decides(id, "approve").is(t, http.StatusConflict, "promote june in place of bbbbbbbbbbbbbbbb", "out of date: the champion is april (aaaaaaaaaaaaaaaa) by now")
	if w.state(id) != proposalStale || s.champion() != "april" {
		t.Errorf("the proposal is %s, the champion %s", w.state(id), s.champion())
	}
	s.point(championSlot, hashB, 6000)
	id = mia.proposes("promote", hashC, hashB)
	s.point(championSlot, hashA, 7000)
	s.point(championSlot, hashB, 8000)
	max.decides(id, "approve").is(t, http.StatusConflict, "out of date")
	// And where it changes between the approval and the publication.
	id = mia.proposes("promote", hashC, hashB)
	s.before = errors.New("no broker")
	max.decides(id, "approve").is(t, http.StatusSeeOther)
	max.get("/models").is(t, http.StatusOK, "Approved by max", "being published")
	s.before = nil
	s.point(championSlot, hashA, 9000)
	if err := w.server.chores(t.Context()); err != nil {
		t.Fatal(err)
	}
	if w.state(id) != proposalStale || s.champion() != "april" || len(s.wrote) > 0 {
		t.Errorf("the proposal is %s, the champion %s", w.state(id), s.champion())
	}
}

// TestCrashesBetweenApprovalAndPublication: the desk dies before it has published, or
// after, and the next one does what is left, once.
func TestCrashesBetweenApprovalAndPublication(t *testing.T) {
	for _, c := range []string{"before", "after", "moved on"} {
		w, s, mia, max := withShelf(t)
		id := mia.proposes("promote", hashC, hashB)
		died := errors.New("the desk died")
		if s.after = died; c == "before" {
			s.before, s.after = died, nil
		}
		max.decides(id, "approve").is(t, http.StatusSeeOther)
		if w.state(id) != proposalApproved {
			t.Fatalf("%s: the proposal is %s", c, w.state(id))
		}
		s.before, s.after = nil, nil
		want := "june"
		if c == "moved on" { // back to the one before, by hand
			s.point(championSlot, hashB, w.clock().UnixMilli()+1)
			want = "may"
		}
		w.open() // another desk
		for range 3 {
			if err := w.server.chores(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if len(s.wrote) != 1 || s.champion() != want || w.state(id) != proposalDone {
			t.Errorf("%s: published %d times, the champion is %s, the proposal %s", c, len(s.wrote), s.champion(), w.state(id))
		}
		entries := w.audited()
		if n := len(slices.DeleteFunc(entries, func(e string) bool { return !strings.Contains(e, "champion is june") })); n != 1 {
			t.Errorf("%s: it is audited %d times", c, n)
		}
	}
}

// TestRefusedModels are not tried again for ever.
func TestRefusedModels(t *testing.T) {
	w, s, mia, max := withShelf(t)
	s.before = fmt.Errorf("%w: it fails its self-test", ErrModelRefused)
	id := mia.proposes("promote", hashC, hashB)
	max.decides(id, "approve").is(t, http.StatusSeeOther)
	if w.state(id) != proposalFailed {
		t.Errorf("the proposal is %s", w.state(id))
	}
	mia.get("/models").is(t, http.StatusOK, "it fails its self-test", "Promote the challenger")
	// Somebody at a command line was faster: the log has theirs, whatever the page knew.
	s.before = fmt.Errorf("%w: \"joe\" made it april", ErrModelOvertaken)
	id = mia.proposes("promote", hashC, hashB)
	max.decides(id, "approve").is(t, http.StatusSeeOther)
	if w.state(id) != proposalStale {
		t.Errorf("the proposal is %s", w.state(id))
	}
	mia.get("/models").is(t, http.StatusOK, "somebody else was faster", "joe", "Promote the challenger")
}

// TestOneApproval is of a desk where one model owner is enough.
func TestOneApproval(t *testing.T) {
	w, s, mia, _ := withShelf(t, func(o *Options) { o.Approvals = 1 })
	mia.get("/models").is(t, http.StatusOK, "It takes effect at once")
	id := mia.proposes("promote", hashC, hashB)
	if s.champion() != "june" || w.state(id) != proposalDone || s.wrote[0].By != "mia" {
		t.Errorf("the champion is %s by %+v", s.champion(), s.wrote)
	}
	if got := w.audited()[0]; !strings.HasPrefix(got, "mia approved model ccc: decides alone to promote june") {
		t.Errorf("audited is %s", got)
	}
}

// TestWithoutAKey explains what to do by hand.
func TestWithoutAKey(t *testing.T) {
	_, s, mia, _ := withShelf(t)
	s.sign = false
	page := mia.get("/models").is(t, http.StatusOK, "no key to sign with", "weir model promote --key FILE --reason TEXT challenger", "weir model rollback")
	if strings.Contains(page.body, `name="what"`) {
		t.Error("a form is shown that does nothing")
	}
	mia.do("POST", "/models/proposals", formOf("promote", hashC, hashB)).is(t, http.StatusConflict, "--signing-key")
}

// TestWhoMayDoWhatWithModels: owners act, supervisors and auditors look.
func TestWhoMayDoWhatWithModels(t *testing.T) {
	w, _, mia, _ := withShelf(t)
	id := mia.proposes("promote", hashC, hashB)
	for role, see := range map[Role]int{Analyst: 403, Supervisor: 200, Auditor: 200, ModelOwner: 200} {
		w.add(role.String(), role)
		b := w.browser().enters(role.String())
		page := b.get("/models").is(t, see)
		if acts := strings.Contains(page.body, `name="act"`); acts != (role == ModelOwner) {
			t.Errorf("%s is offered to act: %v", role, acts)
		}
		if role == ModelOwner {
			continue
		}
		b.decides(id, "approve").is(t, http.StatusForbidden)
		b.do("POST", "/models/proposals", formOf("promote", hashC, hashB)).is(t, http.StatusForbidden)
	}
}

// TestADeskWithoutModels says so.
func TestADeskWithoutModels(t *testing.T) {
	w := newWorld(t)
	w.add("mia", ModelOwner)
	mia := w.browser().enters("mia")
	mia.get("/models").is(t, http.StatusOK, "knows of no models")
	mia.do("POST", "/models/proposals", formOf("promote", hashC, hashB)).is(t, http.StatusNotFound)
}

// TestModelForms that are not understood do nothing, and what a stranger wrote into a
// model is text.
func TestModelForms(t *testing.T) {
	_, s, mia, max := withShelf(t)
	for _, f := range []url.Values{{}, {"what": {"promote"}}, {"what": {"sell"}, "reason": {"r"}}, {"what": {"promote"}, "reason": {strings.Repeat("r", reasonMax+1)}}} {
		mia.do("POST", "/models/proposals", f).is(t, http.StatusBadRequest)
	}
	max.decides("nothing", "approve").is(t, http.StatusNotFound)
	for _, text := range evil {
		s.models[hashC] = &Model{Hash: hashC, Name: text, Spec: text, Refused: text, Learnt: []ModelFact{{text, text}}, Days: []ModelDay{{Day: 1, Decisions: 1, Drift: []FeatureDrift{{Name: text, PSI: 1}}}}}
		s.models[hashB] = s.models[hashC]
		s.slots[2].Reason, s.slots[2].By = text, text
		f := formOf("promote", hashC, hashC)
		f.Set("reason", text+" 4111 1111 1111 1111")
		mia.do("POST", "/models/proposals", f)
		page := mia.get("/models").is(t, http.StatusOK)
		if strings.Contains(page.body, "<script>alert") || strings.Contains(page.body, "<img src=x") || strings.Contains(page.body, "4111 1111") {
			t.Errorf("markup in %s", page.body)
		}
	}
	s.away = errors.New("no broker")
	mia.get("/models").is(t, http.StatusServiceUnavailable, "topic models could not be read")
}

// TestModelFigures draws what is known, and nothing of what is not.
func TestModelFigures(t *testing.T) {
	w, s, mia, _ := withShelf(t)
	mia.get("/models").is(t, http.StatusOK, "No day is noted yet")
	half, much := .5, .3
	day := w.clock().UnixMilli() / 86400000 * 86400000
	b := s.models[hashB]
	for i := range int64(3) {
		b.Days = append(b.Days, ModelDay{Day: day + i*86400000, Decisions: 1000, AlertRate: .01, ScorePSI: &much})
	}
	b.Days[0].Precision, b.Days[0].AtAge = &ModelEstimate{half, .4, .6}, "7d"
	b.Days[2].Drift = []FeatureDrift{{"slow", .02, 0, false}, {"hour", 3, 0, true}, {"moved", .4, .25, false}}
	page := mia.get("/models").is(t, http.StatusOK, `<svg class="chart"`, "Champion: 1.0 % on 6 May.", "50 % (40 % to 60 %), by labels 7d old on 4 May", "much", "25 % missing", "moves by its nature", "0.300, much")
	if a, c := strings.Index(page.body, "<code>moved"), strings.Index(page.body, "<code>slow"); a < 0 || c < a {
		t.Error("the worst feature is not the first")
	}
	if n := strings.Count(page.body, `<svg class="chart"`); n != 3 {
		t.Errorf("%d charts, of three figures something is known", n)
	}
	if strings.Contains(page.body, "NaN") || strings.Contains(page.body, "Inf") {
		t.Error("a chart holds what is no number")
	}
	if e := w.lastEntry(); e.What != schemas.AuditViewed || string(e.Of) != "/models" {
		t.Errorf("audited is %+v", e)
	}
}
