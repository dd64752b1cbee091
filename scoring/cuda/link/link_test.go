//go:build linux

package link

import (
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pair returns a page as both sides map it.
func pair(t *testing.T) (scorer, worker *Page, file *os.File) {
	t.Helper()
	scorer, file, err := New(2, false)
	if err != nil {
		t.Fatal(err)
	}
	if worker, err = Open(file); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, close := range []func() error{scorer.Close, worker.Close, file.Close} {
			if err := close(); err != nil {
				t.Error(err)
			}
		}
	})
	return scorer, worker, file
}

func TestBothSidesSeeOnePage(t *testing.T) {
	s, w, _ := pair(t)
	if w.Device != 2 {
		t.Errorf("device %d, want 2", w.Device)
	}
	for lane := range Lanes {
		rows := s.Rows(lane)
		if n := RowsOf(64) * 64; n != RowsMax*64 || n > len(rows) {
			t.Fatalf("%d rows of 64 columns in a lane of %d", RowsOf(64), len(rows))
		}
		if n := RowsOf(4096) * 4096; n == 0 || n > len(rows) {
			t.Fatalf("%d rows of 4096 columns in a lane of %d", RowsOf(4096), len(rows))
		}
		rows[0], rows[len(rows)-1] = float32(lane)+1, float32(lane)+2
		w.Scores(lane)[RowsMax-1] = float32(lane) + 3
	}
	s.Image()[ImageBytes-1] = 7
	for lane := range Lanes { // nothing lies on anything else
		rows := w.Rows(lane)
		if rows[0] != float32(lane)+1 || rows[len(rows)-1] != float32(lane)+2 || s.Scores(lane)[RowsMax-1] != float32(lane)+3 {
			t.Errorf("lane %d: %g %g %g", lane, rows[0], rows[len(rows)-1], s.Scores(lane)[RowsMax-1])
		}
	}
	if w.Image()[ImageBytes-1] != 7 {
		t.Error("the image is not seen")
	}
	w.Fault.Put(OutOfMemory, 2, string(make([]byte, 1000))+"x")
	w.Fault.Put(OutOfMemory, 2, "no room")
	if s.Fault.Class != OutOfMemory || s.Fault.Code != 2 || s.Fault.Text() != "no room" {
		t.Errorf("fault %v %d %q", s.Fault.Class, s.Fault.Code, s.Fault.Text())
	}
}

func TestWordsWakeTheOtherSide(t *testing.T) {
	s, w, _ := pair(t)
	const rounds = 2000
	go func() {
		for n := range uint32(rounds) {
			w.Lane[1].Request.Wait(n, 0, time.Minute)
			w.Lane[1].Answer.Set(n + 1)
		}
	}()
	for n := range uint32(rounds) {
		s.Lane[1].Request.Set(n + 1)
		if got := s.Lane[1].Answer.Wait(n, 10*time.Microsecond, time.Minute); got != n+1 {
			t.Fatalf("answer %d to %d", got, n+1)
		}
	}
}

func TestWaitEndsWithItsLimit(t *testing.T) {
	s, _, _ := pair(t)
	start := time.Now()
	if got := s.Bell.Wait(0, 0, 20*time.Millisecond); got != 0 || time.Since(start) < 20*time.Millisecond {
		t.Errorf("%d after %v", got, time.Since(start))
	}
}

func TestWaitDoesNotAllocate(t *testing.T) {
	s, _, _ := pair(t)
	if n := testing.AllocsPerRun(100, func() {
		s.Bell.Add()
		s.Bell.Wait(s.Bell.Load(), 0, time.Microsecond)
	}); n != 0 {
		t.Errorf("%g allocations", n)
	}
}

// TestPageCannotBeShrunk holds the seal: a page that shrinks kills who reads it.
func TestPageCannotBeShrunk(t *testing.T) {
	_, _, file := pair(t)
	if err := file.Truncate(0); !errors.Is(err, unix.EPERM) {
		t.Errorf("shrinking ends with %v", err)
	}
}

func TestOtherVersionsAreRefused(t *testing.T) {
	s, _, file := pair(t)
	s.version++
	if _, err := Open(file); !errors.Is(err, ErrVersion) {
		t.Errorf("error %v", err)
	}
}

func TestClassesHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range Classes() {
		if name := c.String(); name == "" || name == "unknown" || seen[name] {
			t.Errorf("class %d is called %q", c, name)
		} else {
			seen[name] = true
		}
	}
	if Class(999).String() != "unknown" || !NoDevice.Lasting() || OutOfMemory.Lasting() || None.Lasting() {
		t.Error("classes are mixed up")
	}
}
