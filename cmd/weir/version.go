package main

import (
	"context"
	"encoding/hex"
	"flag"
	"runtime"
	"runtime/debug"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest"
	"github.com/weir-risk/weir/scoring/cpu"
	"github.com/weir-risk/weir/trainer"
)

var versionCommand = &command{
	name: "version", summary: "say what this program is made of", json: true,
	about: `The revision it was built from, the engine whose arithmetic a ledger's batches name,
what computes scores on this processor, and the time zone rules built in. Two
programs with the same engine hash give the same bits.`,
	examples: []string{"weir version", "weir version --json"},
	flags: func(*flag.FlagSet) func(context.Context, *env, []string) error {
		return func(_ context.Context, e *env, _ []string) error {
			v, err := versionOf()
			if err != nil {
				return err
			}
			if !e.json {
				v.print(e)
			}
			return e.report(v)
		}
	},
}

// release and revision are what -ldflags -X tells a build that has no repository to look
// at, such as a container's.
var release, revision string

// version is the command's --json line.
type version struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Time     string `json:"time,omitempty"` // of the revision
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	Engine   string `json:"engine"`
	Backend  string `json:"backend"`
	Zones    string `json:"zones"`
}

func versionOf() (version, error) {
	v := version{Platform: runtime.GOOS + "/" + runtime.GOARCH, Engine: hex.EncodeToString(ingest.EngineHash[:]), Zones: spec.ZoneRelease}
	v.read()
	s, err := cpu.New(trainer.RandomModel(1, 1, 1))
	if err != nil {
		return v, err
	}
	v.Backend = s.Backend()
	return v, nil
}

// read fills in what the build says of itself.
func (v *version) read() {
	v.Version, v.Go = "unknown", runtime.Version()
	if b, ok := debug.ReadBuildInfo(); ok {
		v.Version = b.Main.Version
		for _, s := range b.Settings {
			switch s.Key {
			case "vcs.revision":
				v.Revision = s.Value
			case "vcs.time":
				v.Time = s.Value
			case "vcs.modified":
				v.Modified = s.Value == "true"
			}
		}
	}
	if release != "" {
		v.Version = release
	}
	if revision != "" {
		v.Revision = revision
	}
}

func (v *version) print(e *env) {
	e.printf("weir        %s\n", v.Version)
	if v.Revision != "" {
		changed := ""
		if v.Modified {
			changed = ", with changes that are not committed"
		}
		of := ""
		if v.Time != "" {
			of = " of " + v.Time
		}
		e.printf("revision    %s%s%s\n", v.Revision, of, changed)
	}
	e.printf("built with  %s for %s\n", v.Go, v.Platform)
	e.printf("engine      %s\n", v.Engine)
	e.printf("scores by   cpu, %s\n", v.Backend)
	e.printf("zones       IANA %s\n", v.Zones)
}
