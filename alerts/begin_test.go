package alerts

import (
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/weir-risk/weir/schemas"
)

// TestADeskOfAnotherTime begins behind the past of a stream that lives at another time
// than its analysts: labels are known at the stream's.
func TestADeskOfAnotherTime(t *testing.T) {
	w := newWorld(t, 11)
	w.alert(30)
	v := fresh(t)
	w.must(v.Begin(t.Context(), Place{PlaceAlerts, 0}, 20))
	const stream = 1_500_000_000_000
	d := New(w.log, v, Config{Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Now: time.Now, After: time.After, Topics: w.topics,
		KnownAt: func(at int64) int64 {
			if time.Since(time.UnixMilli(at)).Abs() > time.Hour {
				t.Errorf("the action was at %d", at)
			}
			return stream
		}})
	ended := make(chan error, 1)
	go func() { ended <- d.Run(t.Context()) }()
	w.until("the desk is ready", func() bool { ok, _ := d.Ready(); return ok })
	w.alert(5)
	w.until("what came later", func() bool { f, _ := v.Figures(t.Context(), 0); return f.Open == 15 })
	if _, err := v.Item(t.Context(), w.ids[19]); err == nil {
		t.Error("an alert of the past is there")
	}
	s, err := d.Act(t.Context(), action(w.ids[20], "ann", schemas.ClosedFraud))
	if err != nil || s.Err != nil {
		t.Fatalf("%+v, %v", s, err)
	}
	w.until("a label", func() bool { return len(w.labels()) == 1 })
	if l := w.labels()[0]; l.KnownAt != stream || l.Verdict != schemas.LabelFraud {
		t.Errorf("%+v", l)
	}
}
