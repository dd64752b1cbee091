package spec

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// TestZoneEqualsTime compares local times with the time package's, at random
// moments and around every change of every zone's offset.
func TestZoneEqualsTime(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 1))
	var f zoneFile
	names := f.names()
	if len(names) < 500 {
		t.Fatalf("%d zones", len(names))
	}
	last := time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	changes := 0
	for _, name := range names {
		location, err := f.location(name)
		if err != nil {
			t.Fatal(err)
		}
		z := newZone(location)
		check := func(ms int64) {
			want := time.UnixMilli(ms).In(location)
			if z.Hour(ms) != want.Hour() || z.Day(ms) != want.Day() || z.Weekday(ms) != (int(want.Weekday())+6)%7 {
				t.Fatalf("%s at %v: got hour %d, weekday %d, day %d; seed %d",
					name, want, z.Hour(ms), z.Weekday(ms), z.Day(ms), seed)
			}
		}
		for i, start := range z.starts {
			if i%16 == random.IntN(16) { // each zone has some 450
				changes++
				check(max(0, start*1000-1))
				check(start * 1000)
			}
		}
		for range 20 {
			check(random.Int64N(last))
		}
		check(0)
		check(last - 1)
	}
	if changes < 5000 {
		t.Errorf("only %d changes of offsets were looked at", changes)
	}
}

// TestZoneEndOfLeapYear holds what time.Time.ZoneBounds gets wrong.
func TestZoneEndOfLeapYear(t *testing.T) {
	f := func(name, at string, hour, weekday, day int) {
		t.Helper()
		var file zoneFile
		location, err := file.location(name)
		if err != nil {
			t.Fatal(err)
		}
		moment, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		z, ms := newZone(location), moment.UnixMilli()
		if got := [3]int{z.Hour(ms), z.Weekday(ms), z.Day(ms)}; got != [3]int{hour, weekday, day} {
			t.Errorf("%s at %s: got %v", name, at, got)
		}
	}
	f("Europe/Brussels", "2048-12-31T22:59:59Z", 23, 3, 31)
	f("Europe/Brussels", "2048-12-31T23:00:00Z", 0, 4, 1)
	f("Europe/Brussels", "2026-03-29T00:59:59Z", 1, 6, 29)
	f("Europe/Brussels", "2026-03-29T01:00:00Z", 3, 6, 29)
	f("Australia/Sydney", "2048-12-31T12:59:59Z", 23, 3, 31)
	f("Asia/Kathmandu", "2026-02-28T18:15:00Z", 0, 6, 1)
	f("UTC", "2000-02-29T23:59:59Z", 23, 1, 29)
	f("UTC", "1970-01-01T00:00:00Z", 0, 3, 1)
}

// TestZoneBefore1970 holds that no time is out of reach: what lies outside the
// range has the offset of its end.
func TestZoneBefore1970(t *testing.T) {
	f := func(ms int64, hour, weekday, day int) {
		t.Helper()
		if got := [3]int{utc.Hour(ms), utc.Weekday(ms), utc.Day(ms)}; got != [3]int{hour, weekday, day} {
			t.Errorf("%d: got %v", ms, got)
		}
	}
	f(-1, 23, 2, 31)
	f(-86400000, 0, 2, 31)
	f(-86400001, 23, 1, 30)
}

func TestZoneByName(t *testing.T) {
	s, err := Parse("zones", []byte("field id = $.i\nfield time = $.t\nfield amount = $.a\nfield text z = $.z\n"+
		"hour(time, z)\nfallback review when amount > 1\n"))
	if err != nil {
		t.Fatal(err)
	}
	noon := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC).UnixMilli()
	f := func(name string, hour int) {
		t.Helper()
		if got := s.ZoneByName([]byte(name)).Hour(noon); got != hour {
			t.Errorf("noon in %q: got %d, want %d", name, got, hour)
		}
	}
	f("Europe/Brussels", 14)
	f("America/New_York", 8)
	f("Asia/Tokyo", 21)
	f("", 12)
	f("Local", 12)
	f("Europe/", 12)
	f("Nowhere/At_All", 12)
	if s.Zone("Europe/Brussels") == nil || s.Zone("Local") != nil || s.Zone("Europe/") != nil {
		t.Error("Zone knows what it should not, or does not know what it should")
	}
}

func TestZoneDoesNotAllocate(t *testing.T) {
	s, ok := Builtin("handbook")
	if !ok {
		t.Fatal("no handbook")
	}
	name, sum := []byte("UTC"), 0
	if n := testing.AllocsPerRun(100, func() {
		z := s.ZoneByName(name)
		sum += z.Hour(1e12) + z.Weekday(1e12) + z.Day(1e12)
	}); n != 0 {
		t.Errorf("%v allocations (%d)", n, sum)
	}
}

func BenchmarkZone(b *testing.B) {
	var f zoneFile
	location, err := f.location("Europe/Brussels")
	if err != nil {
		b.Fatal(err)
	}
	z := newZone(location)
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
	for _, by := range []string{"rules", "time"} {
		b.Run(fmt.Sprintf("by=%s", by), func(b *testing.B) {
			b.ReportAllocs()
			sum, ms := 0, start
			for b.Loop() {
				if ms += 7777777; by == "rules" {
					sum += z.Hour(ms)
				} else {
					sum += time.UnixMilli(ms).In(location).Hour()
				}
			}
			if sum == 0 {
				b.Fatal("no hours")
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	for _, name := range BuiltinNames() {
		b.Run("spec="+name, func(b *testing.B) {
			text := BuiltinText(name)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(name, text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("spec=zone-field", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var s Spec
			if err := s.loadZones(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
