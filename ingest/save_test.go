package ingest

import (
	"testing"
	"time"

	"github.com/weir-risk/weir/features"
)

// TestASaverKeepsAFewParts makes snapshots for a disk that is far behind: of the memory
// that waited for it, what is left between two is that of a few parts.
func TestASaverKeepsAFewParts(t *testing.T) {
	l := newLine(t, "payments", newSource("payments", 1000, 20*time.Second), 16)
	l.owner.node.SnapshotDir = t.TempDir()
	s := newSaver(l.owner.node, 0)
	for range 3 {
		l.prepare(t, 2000)
		l.step(t)
		s.begin(l.owner.state)
		s.finish()
		whole, kept, largest := 0, 0, 0
		spare := make([][]byte, len(s.free))
		for i := range spare {
			spare[i] = <-s.free
			kept, largest = kept+cap(spare[i]), max(largest, cap(spare[i]))
		}
		for _, part := range spare {
			s.free <- part
		}
		state, err := ReadSnapshot(newest(t, l.owner.node.SnapshotDir), l.owner.state.Spec, l.owner.node.Features, 0)
		if err != nil {
			t.Fatal(err)
		}
		for p := range features.Parts {
			part := state.Engine.AppendPart(nil, p)
			whole, largest = whole+len(part), max(largest, cap(part))
		}
		if kept > partsSpare*largest || kept > whole/4 {
			t.Errorf("%d bytes in %d parts are kept after a snapshot of %d whose largest part takes %d", kept, len(spare), whole, largest)
		}
	}
}

func newest(t *testing.T, dir string) string {
	t.Helper()
	names, err := Snapshots(dir)
	if err != nil || len(names) == 0 {
		t.Fatalf("%d snapshots, %v", len(names), err)
	}
	return names[0]
}
