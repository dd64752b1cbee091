package spec

import (
	"archive/zip"
	_ "embed"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"
	"time"
)

// zoneinfo is Go's own lib/time/zoneinfo.zip. time.LoadLocation would look into
// the machine's zone files first, so that a decision made on one machine could
// not be proved on another whose files are newer; these rules are the same
// everywhere and change only with the program.
//
//go:embed zoneinfo.zip
var zoneinfo string

// ZoneRelease is the release of the IANA time zone rules that are built in.
const ZoneRelease = "2025c"

// Zone holds the offsets of a time zone from 1970 to 2200, which is every time
// that a record may have. It is never changed and may be used by many at once.
type Zone struct {
	// From starts[i] on, in seconds since the Unix epoch, local time is
	// offsets[i] seconds ahead of UTC. The first start reaches back for ever.
	starts  []int64
	offsets []int64
}

// newZone compiles the offsets of a location.
func newZone(location *time.Location) *Zone {
	offset := func(t int64) int64 {
		_, o := time.Unix(t, 0).In(location).Zone()
		return int64(o)
	}
	z := &Zone{starts: []int64{0}, offsets: []int64{offset(0)}}
	end := time.Date(2200, 1, 2, 0, 0, 0, 0, time.UTC).Unix()
	for t, last := int64(0), z.offsets[0]; t < end; {
		next := t + day/second
		// ZoneBounds spares most steps, but on 31 December of a leap year it may
		// give an end that has passed.
		if _, bound := time.Unix(t, 0).In(location).ZoneBounds(); bound.IsZero() {
			next = end
		} else if bound.Unix() > t {
			next = bound.Unix()
		}
		if o := offset(next); o != last {
			// The change came in (t, next]; with a true bound, at next.
			change := t + 1 + int64(sort.Search(int(next-t-1), func(i int) bool { return offset(t+1+int64(i)) != last }))
			z.starts, z.offsets = append(z.starts, change), append(z.offsets, o)
			last = o
		}
		t = next
	}
	return z
}

// local is the local time of ms since the Unix epoch as days since then, a
// Thursday, and seconds of the day.
func (z *Zone) local(ms int64) (days, seconds int64) {
	t := floorDiv(ms, 1000)
	low, high := 0, len(z.starts)
	for high-low > 1 {
		if middle := (low + high) / 2; z.starts[middle] <= t {
			low = middle
		} else {
			high = middle
		}
	}
	t += z.offsets[low]
	days = floorDiv(t, 86400)
	return days, t - days*86400
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// Hour is the hour of the day, 0 to 23, at ms since the Unix epoch.
func (z *Zone) Hour(ms int64) int {
	_, seconds := z.local(ms)
	return int(seconds / 3600)
}

// Weekday is the day of the week, 0 Monday to 6 Sunday.
func (z *Zone) Weekday(ms int64) int {
	days, _ := z.local(ms)
	return int(days + 3 - 7*floorDiv(days+3, 7))
}

// Day is the day of the month, 1 to 31.
func (z *Zone) Day(ms int64) int {
	days, _ := z.local(ms)
	// Count from 1 March of the year 0 in eras of 400 years, so that the leap
	// day is the last of a year (Howard Hinnant's civil_from_days).
	days += 719468
	ofEra := days - 146097*floorDiv(days, 146097)
	year := (ofEra - ofEra/1460 + ofEra/36524 - ofEra/146096) / 365
	ofYear := ofEra - (365*year + year/4 - year/100)
	month := (5*ofYear + 2) / 153
	return int(ofYear - (153*month+2)/5 + 1)
}

// Zone is the location of an IANA zone by the rules that are built in, nil
// where there is none. Features use [Expr.Rules] and [Spec.ZoneByName] instead.
func (s *Spec) Zone(name string) *time.Location {
	var f zoneFile
	location, err := f.location(name)
	if err != nil {
		return nil
	}
	return location
}

// ZoneByName is the zone that a field of a record names; UTC where there is no
// such zone. Only a spec with a zone taken from a field knows all zones; others
// know those that they name.
func (s *Spec) ZoneByName(name []byte) *Zone {
	if z := s.zones[string(name)]; z != nil {
		return z
	}
	return &utc
}

var utc = Zone{starts: []int64{0}, offsets: []int64{0}}

// loadZones compiles all zones for fields that name one. Many names stand for
// the same rules, which are compiled once.
func (s *Spec) loadZones() error {
	var f zoneFile
	byRules := map[string]*Zone{}
	if s.zones == nil {
		s.zones = map[string]*Zone{}
	}
	for _, name := range f.names() {
		rules, err := f.rules(name)
		if err != nil {
			return err
		}
		z := byRules[string(rules)]
		if z == nil {
			location, err := time.LoadLocationFromTZData(name, rules)
			if err != nil {
				return fmt.Errorf("load zone %s: %w", name, err)
			}
			z = newZone(location)
			byRules[string(rules)] = z
		}
		if s.zones[name] == nil {
			s.zones[name] = z
		}
	}
	return nil
}

// zoneFile reads the zones that are built in; the zero value is ready.
type zoneFile struct{ archive *zip.Reader }

func (f *zoneFile) open() *zip.Reader {
	if f.archive == nil {
		r, err := zip.NewReader(strings.NewReader(zoneinfo), int64(len(zoneinfo)))
		if err != nil {
			panic("BUG: zoneinfo.zip: " + err.Error())
		}
		f.archive = r
	}
	return f.archive
}

// names are all zones, sorted.
func (f *zoneFile) names() []string {
	var names []string
	for _, file := range f.open().File {
		if !strings.HasSuffix(file.Name, "/") {
			names = append(names, file.Name)
		}
	}
	slices.Sort(names)
	return names
}

// rules is the file of a zone.
func (f *zoneFile) rules(name string) ([]byte, error) {
	for _, file := range f.open().File {
		if file.Name != name || strings.HasSuffix(name, "/") {
			continue
		}
		r, err := file.Open()
		if err != nil {
			return nil, fmt.Errorf("open zone %s: %w", name, err)
		}
		defer r.Close()
		rules, err := io.ReadAll(r)
		if err != nil {
			return nil, fmt.Errorf("read zone %s: %w", name, err)
		}
		return rules, nil
	}
	return nil, fmt.Errorf("unknown time zone %s", name)
}

func (f *zoneFile) location(name string) (*time.Location, error) {
	rules, err := f.rules(name)
	if err != nil {
		return nil, err
	}
	return time.LoadLocationFromTZData(name, rules)
}
