package main

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/history"
	"github.com/weir-risk/weir/schemas"
)

// wideSpec returns a spec of n features.
func wideSpec(t *testing.T, n int) *spec.Spec {
	t.Helper()
	var b strings.Builder
	b.WriteString("spec wide\nbase EUR\n\nfield id = $.id\nfield time = $.time as ms\nfield amount = $.amount minor\nfield currency = \"EUR\"\nfield customer = $.customer\n\nscored authorisation\nhome customer dedup 7d\n\n")
	for i := range n {
		fmt.Fprintf(&b, "count() by customer over %dh as feature_%d\n", 1+i, i)
	}
	b.WriteString("\nfallback review when amount > 220\n")
	s, err := spec.Parse("wide", []byte(b.String()))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("wide.spec", []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// writeWide writes n decisions of a spec over 90 days into a history; two of a
// thousand are fraud.
func writeWide(t *testing.T, where string, s *spec.Spec, n int) {
	t.Helper()
	store, err := history.Open(t.Context(), where, history.Options{})
	if err == nil {
		_, err = store.Migrate(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	w, r := pastWriter{store: store}, rand.New(rand.NewPCG(5, 0))
	d := schemas.Decision{Features: make([]float32, len(s.Features)), Verdict: schemas.Verdict{}, Spec: schemas.HashPrefix(s.Hash), Bundle: 5, Score: 0.5, Prob: 0.5}
	for i := range n {
		at := pastStart + int64(i)*90*dayMs/int64(n)
		d.Place = schemas.Place{Offset: int64(i), Prev: int64(i) - 1, Timestamp: at}
		d.Tx = schemas.Transaction{Time: at, Amount: 100 + r.Int64N(100_000), AmountBase: 100 + r.Int64N(100_000)}
		fraud := r.IntN(500) == 0
		for k := range d.Features {
			d.Features[k] = float32(r.Uint32()>>8) * 0x1p-24
			if fraud && k < 8 {
				d.Features[k] += 0.5
			}
		}
		d.Text[schemas.ID], d.Text[schemas.Customer] = fmt.Appendf(nil, "t%d", i), fmt.Appendf(nil, "c%d", r.IntN(1_000_000))
		w.add(t, schemas.AppendDecision(nil, &d))
		if fraud {
			w.add(t, schemas.AppendLabelEntry(nil, &schemas.Label{TxID: d.Text[schemas.ID], Source: schemas.Chargeback, Version: 1, Verdict: schemas.LabelFraud,
				KnownAt: at + 3*dayMs, Place: schemas.Place{Offset: int64(i), Prev: int64(i) - 1}}))
		}
	}
	w.flush(t)
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestTenMillionDecisionsInFourGiB trains either family of 10 million decisions with
// 64 features and looks at the most memory that the process took.
func TestTenMillionDecisionsInFourGiB(t *testing.T) {
	if os.Getenv("WEIR_PROVE") == "" {
		t.Skip("it writes a history of gigabytes; WEIR_PROVE asks for it")
	}
	where := cmp.Or(clickhouseDatabase(t), filepath.Join(t.TempDir(), "history.db"))
	t.Chdir(t.TempDir())
	s := wideSpec(t, 64)
	const n = 10_000_000
	began := time.Now()
	writeWide(t, where, s, n)
	t.Logf("%d decisions of %d features written in %.0f s", n, len(s.Features), time.Since(began).Seconds())
	for _, flags := range [][]string{{}, {"--family", "network", "--epochs", "2"}} {
		args := append([]string{"train", "--history", where, "--spec", "wide.spec", "--ripe", "10d", "--key", "sign.key", "--out", "model.weir", "--json"}, flags...)
		p := start(t, args...)
		err := <-p.done
		p.done <- err
		if err != nil {
			t.Fatalf("%q: %v: %v", flags, err, p.log)
		}
		var rep trainReport
		lastLine(t, p.stdout.String(), &rep)
		// In KiB; what the kernel counts may hold that of the process that started it.
		peak := float64(p.cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss) / (1 << 20)
		t.Logf("%q: %d of %d decisions held, %.1f s, peak %.2f GiB; held out: average precision %.3f, expected %.2f times the frauds seen",
			flags, rep.Rows, rep.History.Seen, rep.Seconds, peak, rep.Held.AveragePrecision, rep.Held.Expected)
		if peak >= 4 || rep.History.Seen < n-1 {
			t.Errorf("%.2f GiB for %d decisions, want less than 4 for all", peak, rep.History.Seen)
		}
	}
}
