package pages

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"
)

// huge returns how many bytes of the process lie in huge pages; false where the system
// does not say.
func huge(t *testing.T) (bytes int, ok bool) {
	t.Helper()
	f, err := os.Open("/proc/self/smaps_rollup")
	if err != nil {
		return 0, false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if n, err := fmt.Sscanf(strings.ReplaceAll(lines.Text(), " ", ""), "AnonHugePages:%dkB", &bytes); n == 1 && err == nil {
			return bytes << 10, true
		}
	}
	return 0, false
}

// written returns a slab of so many bytes in which each word is its index.
func written(bytes int) []uint64 {
	slab := make([]uint64, bytes/8)
	for i := range slab {
		slab[i] = uint64(i)
	}
	return slab
}

func holds(t *testing.T, slab []uint64) {
	t.Helper()
	for i, w := range slab {
		if w != uint64(i) {
			t.Fatalf("word %d is %d", i, w)
		}
	}
}

// TestSlabsAreGathered gathers what was written before: it lies in huge pages then, and
// holds what it held.
func TestSlabsAreGathered(t *testing.T) {
	const bytes = 32 << 20
	debug.FreeOSMemory() // or what tests before have left is given back meanwhile
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	before, ok := huge(t)
	if !ok {
		t.Skip("the system does not say what lies in huge pages")
	}
	slab := written(bytes)
	slabs := func(yield func([]uint64)) { yield(slab); yield(slab[:8]) }
	Gather(slabs)
	after, _ := huge(t)
	holds(t, slab)
	could, why := 0, error(nil) // what the system says of each, for it may have none in one piece
	for _, page := range filled(nil, spans(nil, slabs)) {
		if err := gather(page); err != nil {
			why = err
		} else {
			could += size
		}
	}
	if could == 0 {
		t.Skipf("the system gathers no page: %v", why)
	}
	if after-before < could-size { // one may have been huge before
		t.Errorf("%d bytes lie in huge pages, of %d that can", after-before, could)
	}
}

// TestAGathererWorksBeside shows slabs to a gatherer at work, more often than it takes
// them: nobody waits, and each is gathered at last.
func TestAGathererWorksBeside(t *testing.T) {
	slab := written(8 << 20)
	ctx, cancel := context.WithCancel(t.Context())
	g, done, pauses := NewGatherer(), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		g.Run(ctx, func(time.Duration) <-chan time.Time {
			select {
			case pauses <- struct{}{}:
			case <-ctx.Done():
			}
			now := make(chan time.Time, 1)
			now <- time.Time{}
			return now
		})
	}()
	for range 10 {
		g.Show(func(yield func([]uint64)) { yield(slab) }, Busy)
	}
	for range len(slab)*8/size - 1 { // its first and last half may lie in others
		<-pauses
	}
	cancel()
	<-done
	holds(t, slab)
	runtime.KeepAlive(slab)
}

// TestFilled lists the huge pages that slabs fill.
func TestFilled(t *testing.T) {
	const m = 1 << 20
	for _, c := range []struct {
		slabs []span
		want  []uintptr
	}{
		{nil, nil},
		{[]span{{5 * m, 5*m + 8}}, nil},
		{[]span{{4 * m, 6 * m}}, []uintptr{4 * m}},
		{[]span{{4*m + 8, 5*m + 8}}, []uintptr{4 * m}},
		{[]span{{4*m + 8, 5 * m}}, nil},
		{[]span{{4*m + 8, 9 * m}}, []uintptr{4 * m, 6 * m, 8 * m}},
		{[]span{{9*m + 8, 10 * m}, {3 * m, 7*m - 8}, {8 * m, 8*m + 8}}, []uintptr{2 * m, 4 * m, 8 * m}},
		{[]span{{8 * m, 9 * m}, {9 * m, 10 * m}}, []uintptr{8 * m}},
	} {
		if got := filled(nil, c.slabs); !slices.Equal(got, c.want) {
			t.Errorf("%x fill %x, want %x", c.slabs, got, c.want)
		}
	}
}
