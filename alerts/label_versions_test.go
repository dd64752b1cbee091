package alerts

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/weir-risk/weir/schemas"
)

// TestLabelsBesideThoseOfOthers plays scripts of one transaction: what the topic labels
// holds of it, what is done with its alerts, and what is due then. Words of a line are
// "heard" with source, version, verdict and time, and the action that made it where that
// is said; an action of an alert with its id, which is its time too; and "due" with the
// labels that are, each as its action, version and verdict, or "none". What is due is
// heard then.
func TestLabelsBesideThoseOfOthers(t *testing.T) {
	for name, script := range map[string]string{
		"alone":                              "0-1 closed_fraud 1000\ndue 1000 1 fraud\n0-1 undone 2000\ndue 2000 2 none\ndue none",
		"behind another analyst":             "heard analyst 1 genuine 5\n0-1 closed_fraud 1000\ndue 1000 2 fraud\n0-1 undone 2000\ndue 2000 3 none\ndue none",
		"behind a later version of theirs":   "heard analyst 7 genuine 5\n0-1 closed_fraud 1000\n0-1 undone 2000\ndue 1000 8 fraud, 2000 9 none\ndue none",
		"theirs comes in between":            "0-1 closed_fraud 1000\ndue 1000 1 fraud\nheard analyst 5 genuine 1500\n0-1 undone 2000\ndue 2000 7 none\ndue none",
		"of the same verdict":                "heard analyst 1 fraud 5\n0-1 closed_fraud 1000\ndue 1000 2 fraud\ndue none",
		"other sources do not matter":        "heard chargeback 9 fraud 5\n0-1 closed_fraud 1000\ndue 1000 1 fraud\ndue none",
		"both at once, under one version":    "0-1 closed_fraud 1000\nheard analyst 1 genuine 5\nheard analyst 1 fraud 1000 1000\ndue none",
		"an earlier one after a later":       "0-1 closed_fraud 1000\n0-1 undone 2000\nheard analyst 3 none 2000 2000\nheard analyst 9 genuine 2500\ndue 1000 2 fraud\ndue none",
		"an earlier one, twice":              "0-1 closed_fraud 1000\ndue 1000 1 fraud\nheard analyst 4 fraud 1000 1000\n0-1 undone 2000\ndue 2000 5 none\ndue none",
		"two alerts of one transaction":      "0-1 closed_fraud 1000\n0-2 closed_genuine 1001\ndue 1000 1 fraud\ndue 1001 2 genuine\n0-1 undone 2000\ndue 2000 4 none\ndue none",
		"of a desk before actions were said": "heard analyst 1 fraud 1000\n0-1 closed_fraud 1000\ndue none\n0-1 undone 2000\ndue 2000 2 none",
		"no version is left":                 "heard analyst 1023 genuine 5\n0-1 closed_fraud 1000\ndue none",
		"the last version":                   "heard analyst 1022 genuine 5\n0-1 closed_fraud 1000\n0-1 undone 2000\ndue 1000 1023 fraud\ndue none",
	} {
		t.Run(name, func(t *testing.T) { playLabels(t, script) })
	}
}

func playLabels(t *testing.T, script string) {
	t.Helper()
	w := &labelScript{t: t, v: fresh(t), last: make(map[string]string)}
	r := rand.New(rand.NewPCG(1, 5))
	var raised []Record
	for i, offset := range []int64{1, 2} {
		d := decide(r, 0, offset, 10)
		d.Text[schemas.ID] = []byte("tx")
		raised = append(raised, Record{Offset: int64(i), Value: d.json()})
	}
	if _, err := w.v.FoldAlerts(t.Context(), 0, raised); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(script) {
		if err := w.line(strings.TrimSpace(line)); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
}

// labelScript is a view and the topics that it has seen so far.
type labelScript struct {
	t             *testing.T
	v             *View
	heard, played int64
	last          map[string]string // action of each alert
}

func (w *labelScript) line(line string) error {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "heard":
		var source, verdict, id string
		var l schemas.Label
		if n, err := fmt.Sscan(rest, &source, &l.Version, &verdict, &l.KnownAt, &id); n < 4 {
			return err
		}
		l.TxID, l.DispositionID = []byte("tx"), []byte(id)
		l.Source, _ = schemas.ParseLabelSource(source)
		l.Verdict, _ = schemas.ParseLabelVerdict(verdict)
		return w.hear(&l)
	case "due":
		due, err := w.v.Unpublished(w.t.Context(), 10)
		var got []string
		seen := make(map[uint32]bool)
		for i := range due {
			if l := &due[i]; !seen[l.Version] { // as the desk does: the other waits
				seen[l.Version] = true
				got = append(got, fmt.Sprintf("%s %d %v", l.DispositionID, l.Version, l.Verdict))
				if err := w.hear(l); err != nil {
					return err
				}
			}
		}
		if text := strings.Join(got, ", "); err != nil || text != rest && (text != "" || rest != "none") {
			w.t.Errorf("%s: due is %q, %v", line, text, err)
		}
		return nil
	}
	var kind string
	d := schemas.Disposition{AlertID: []byte(word), TxID: []byte("tx"), By: []byte("ann"), Previous: []byte(w.last[word])}
	if _, err := fmt.Sscan(rest, &kind, &d.At); err != nil {
		return err
	}
	d.ID = fmt.Append(nil, d.At)
	d.Kind, _ = schemas.ParseDispositionKind(kind)
	w.last[word] = string(d.ID)
	f, err := w.v.FoldDispositions(w.t.Context(), []Record{{Offset: w.played, Value: schemas.AppendDispositionJSON(nil, &d)}})
	w.played++
	if err == nil {
		err = f.Settled[0].Err
	}
	return err
}

func (w *labelScript) hear(l *schemas.Label) error {
	w.heard++
	return w.v.MarkLabelled(w.t.Context(), 0, []Record{{Offset: w.heard - 1, Value: schemas.AppendLabelJSON(nil, l)}})
}

// TestLabelsGoOutOnceBesideOthers kills desks, and deletes their views, while others
// label the same transactions under the same source: the topic holds what each action
// made once, in the order of the actions, and above what it knew of others.
func TestLabelsGoOutOnceBesideOthers(t *testing.T) {
	for seed := range uint64(3) {
		w := newWorld(t, 200+seed)
		w.alert(12)
		a := &analysts{w: w, states: make(map[string]State), want: make(map[string]bool)}
		others := make(map[string]uint32)
		for range 8 {
			for range 6 {
				id := w.ids[w.random.IntN(len(w.ids))]
				l := schemas.Label{TxID: []byte("tx-" + id), Source: schemas.Analyst, Verdict: schemas.LabelGenuine, KnownAt: int64(w.sent), Version: others[id] + 1 + w.random.Uint32N(3)}
				others[id] = l.Version
				w.send(w.topics.Labels, schemas.AppendLabelJSON(nil, &l))
			}
			a.act(10)
			if w.random.IntN(3) == 0 {
				w.must(deleteFile(w.file))
			}
			w.kill()
		}
		r := w.start()
		w.until("all labels are out", func() bool { return len(ownLabels(w.labels())) >= len(a.want) })
		r.stop()
		checkBesideOthers(t, seed, w, a)
	}
}

// ownLabels are the labels that desks made, by their actions.
func ownLabels(list []schemas.Label) map[string][]schemas.Label {
	own := make(map[string][]schemas.Label)
	for _, l := range list {
		if id := string(l.DispositionID); id != "" {
			own[id] = append(own[id], l)
		}
	}
	return own
}

func checkBesideOthers(t *testing.T, seed uint64, w *world, a *analysts) {
	t.Helper()
	list := w.labels()
	own := ownLabels(list)
	if len(own) != len(a.want) {
		t.Errorf("seed %d: %d labels of actions, want %d", seed, len(own), len(a.want))
	}
	taken := make(map[string]int) // by transaction and version
	byTx := make(map[string][]schemas.Label)
	for _, l := range list {
		taken[fmt.Sprintf("%s %d", l.TxID, l.Version)]++
		if len(l.DispositionID) > 0 {
			byTx[string(l.TxID)] = append(byTx[string(l.TxID)], l)
		}
	}
	for id, copies := range own {
		if l := copies[0]; len(copies) != 1 || l.Source != schemas.Analyst {
			t.Errorf("seed %d: action %s made %+v", seed, id, copies)
		}
	}
	beyond := 0
	for tx, labels := range byTx {
		slices.SortFunc(labels, func(a, b schemas.Label) int { return int(a.Version) - int(b.Version) })
		for i, l := range labels {
			if i > 0 && l.KnownAt < labels[i-1].KnownAt {
				t.Errorf("seed %d: %s is told in another order than it was decided: %+v", seed, tx, labels)
			}
			if l.Version > uint32(len(labels)) {
				beyond++
			}
		}
		if s := a.states[strings.TrimPrefix(tx, "tx-")]; verdictOf(s.Status) != labels[len(labels)-1].Verdict {
			t.Errorf("seed %d: %s is %v, and the last label of it is %+v", seed, tx, s.Status, labels[len(labels)-1])
		}
	}
	if beyond < 5 {
		t.Errorf("seed %d: %d labels are beyond those of others: too few to tell", seed, beyond)
	}
}
