package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/weir-risk/weir/ingest/simulate"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
	"github.com/weir-risk/weir/trainer"
)

// TestRetrainingWinsWhereFraudChanges watches a simulated bank for 60 days, of whose
// attackers two kinds give way to the four others after 28. Each week a network is
// learnt from the 28 days before, by the labels known that day, and held against the
// one of the first 28 days on the week to come. It runs under WEIR_PROVE.
func TestRetrainingWinsWhereFraudChanges(t *testing.T) {
	if os.Getenv("WEIR_PROVE") == "" {
		t.Skip("set WEIR_PROVE to learn five networks of a bank of 60 days")
	}
	const days, window = 60, 28
	bank := simulate.DefaultConfig()
	bank.Customers, bank.Merchants, bank.Terminals, bank.Devices = 1500, 600, 1200, 1650
	bank.Days, bank.FraudShare, bank.Resent = days, 0.01, 0
	bank.Kinds = [simulate.NumFraudKinds]float64{simulate.HighAmount: .5, simulate.CompromisedTerminal: .5}
	bank.Drift.ShiftDay = window
	bank.Drift.Shift = [simulate.NumFraudKinds]float64{simulate.StolenCard: .25, simulate.CardTesting: .25, simulate.AccountTakeover: .25, simulate.PushPayment: .25}
	past := simulatedPast(t, bank)
	start := bank.Start.UnixMilli()
	learn := func(day int64) scoring.Scorer {
		rows := past.rows(start+(day-window)*dayMs, start+day*dayMs, start+day*dayMs)
		n, err := trainer.LearnNetwork(t.Context(), rows, trainer.DefaultNetwork(), nil)
		if err != nil {
			t.Fatal(err)
		}
		s, err := cpu.New(n.Model())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	old := learn(window)
	left, kept, weeks := 0., 0., 0.
	for day := int64(window); day+7 <= days; day += 7 {
		week := past.rows(start+day*dayMs, start+(day+7)*dayMs, 0)
		precision := func(s scoring.Scorer) float64 {
			scores := make([]float32, week.Rows())
			if err := s.Score(scoring.Matrix{Data: week.X, Rows: week.Rows(), Cols: len(week.Names)}, scores); err != nil {
				t.Fatal(err)
			}
			return trainer.AveragePrecision(scores, week.Y)
		}
		a, b := precision(old), precision(learn(day))
		t.Logf("days %d to %d: %d frauds, average precision %.3f without retraining, %.3f with", day, day+7, week.Frauds(), a, b)
		if day > window {
			left, kept, weeks = left+a, kept+b, weeks+1
		}
	}
	left, kept = left/weeks, kept/weeks
	t.Logf("weeks after the first: %.3f without retraining, %.3f with", left, kept)
	if kept <= left {
		t.Error("retraining does not win")
	}
}

// pastBank is a bank's transactions with their vectors, the truth, and what the
// labels said when.
type pastBank struct {
	x      scoring.Matrix
	time   []int64
	fraud  []bool
	labels [][]knownLabel
}

type knownLabel struct {
	at    int64
	fraud bool
}

// rows are those of some time: with labels as known by asOf, or where that is 0, with
// the truth.
func (w *pastBank) rows(from, to, asOf int64) *trainer.Dataset {
	d := trainer.NewDataset(make([]string, w.x.Cols))
	for i, at := range w.time {
		if at < from || at >= to {
			continue
		}
		fraud := w.fraud[i]
		if asOf != 0 {
			fraud = false
			for _, l := range w.labels[i] {
				if l.at <= asOf {
					fraud = l.fraud
				}
			}
		}
		d.Add(w.x.Data[i*w.x.Cols:(i+1)*w.x.Cols], fraud, at, 0)
	}
	return d
}

// simulatedPast has a bank pay into files, and computes their vectors as live.
func simulatedPast(t *testing.T, c simulate.Config) *pastBank {
	t.Helper()
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	bank, err := simulate.New(c)
	if err != nil {
		t.Fatal(err)
	}
	var tx simulate.Transaction
	var label simulate.Label
	var payments, labels, rates []byte
	times, truth, said := map[string]int64{}, map[string]bool{}, map[string][]knownLabel{}
	for bank.Next(&tx) {
		payments = append(tx.AppendJSON(payments), '\n')
		id := string(tx.AppendID(nil))
		times[id], truth[id] = tx.Time, tx.Fraud()
		for bank.NextLabel(&label) {
			labels = append(label.AppendJSON(labels), '\n')
			id := string(label.AppendID(nil))
			said[id] = append(said[id], knownLabel{label.KnownAt, label.Verdict == schemas.LabelFraud})
		}
	}
	for _, one := range c.Currencies {
		if one.Code != c.BaseCurrency {
			rates = append(one.AppendRate(rates), '\n')
		}
	}
	for name, data := range map[string][]byte{"tx.jsonl": payments, "labels.jsonl": labels, "rates.jsonl": rates} {
		if err := os.WriteFile(in(name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	callWith(t, "", testTokenKey, "features", "--labels", in("labels.jsonl"), "--rates", in("rates.jsonl"), "--output", in("x.csv"), in("tx.jsonl")).succeeds(t)
	w := &pastBank{}
	var ids []string
	w.x, ids = csvVectors(t, content(t, in("x.csv")))
	for _, id := range ids {
		w.time, w.fraud, w.labels = append(w.time, times[id]), append(w.fraud, truth[id]), append(w.labels, said[id])
	}
	return w
}
