package features

import (
	"archive/zip"
	"bytes"
	_ "embed"
	"io"
	"time"
)

// The rules of the time zones, as Go's own distribution has them. Those of
// the machine would make features differ from machine to machine.
//
//go:embed zoneinfo.zip
var zoneRules []byte

// LoadZone returns the zone of an IANA name, by the rules linked into the
// program; nil where there is none.
func LoadZone(name string) *time.Location {
	if name == "UTC" || name == "" {
		return time.UTC
	}
	z, err := zip.NewReader(bytes.NewReader(zoneRules), int64(len(zoneRules)))
	if err != nil {
		return nil
	}
	f, err := z.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close() // it is memory
	data, err := io.ReadAll(f)
	if err != nil {
		return nil
	}
	loc, err := time.LoadLocationFromTZData(name, data)
	if err != nil {
		return nil
	}
	return loc
}

// zonesMax bounds how many zone names that came in a field are remembered.
const zonesMax = 1024

// zoneNamed returns the zone that a field names; UTC where it is not known.
func (e *Engine) zoneNamed(name []byte) *time.Location {
	if loc, ok := e.zones[string(name)]; ok {
		return loc
	}
	loc := LoadZone(string(name))
	if loc == nil {
		loc = time.UTC
	}
	if len(e.zones) < zonesMax {
		e.zones[string(name)] = loc
	}
	return loc
}
