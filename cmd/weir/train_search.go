package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/weir-risk/weir/trainer"
)

// trialsMax bounds a search.
const trialsMax = 1000

// A searchReport is what came of --trials: part of the --json line.
type searchReport struct {
	Trials  int                    `json:"trials"`
	Resumed int                    `json:"resumed"` // of them, from the journal
	Chosen  int                    `json:"chosen"`
	Options trainer.NetworkOptions `json:"options"`
	// AveragePrecision is the chosen one's on the rows that calibrate, First that of
	// the options that the search began from.
	AveragePrecision float64 `json:"average_precision"`
	First            float64 `json:"first_average_precision"`
	list             []trainer.Trial
}

// search tries options of the network, and has the best of them learn.
func (t *training) search(ctx context.Context, e *env, rows *trainer.Dataset) (*searchReport, error) {
	s, err := trainer.NewSearch(rows, t.options, t.network.Seed)
	if err != nil {
		return nil, err
	}
	done, err := readJournal(t.journal, s.Key())
	if err != nil {
		return nil, err
	}
	rep := &searchReport{Trials: t.trials}
	var list []trainer.TrialResult
	for i := range t.trials {
		r, known := done[i]
		if known {
			rep.Resumed++
		} else {
			bar := newBar(e, fmt.Sprintf("search %d/%d", i+1, t.trials))
			r, err = aside(ctx, bar, func(ctx context.Context, progress func(done, total int)) (trainer.TrialResult, error) {
				return s.Try(ctx, i, func(done, total int) { progress(i*total+done, t.trials*total) })
			})
			bar.end()
			if err == nil {
				err = appendJournal(t.journal, &r)
			}
			if err != nil {
				return nil, err
			}
		}
		list = append(list, r)
	}
	best := trainer.Best(list)
	rep.Chosen, rep.Options = best, list[best].Options
	rep.AveragePrecision, rep.First = list[best].AveragePrecision, list[0].AveragePrecision
	for i := range list {
		rep.list = append(rep.list, trainer.Trial{Options: list[i].Words(), AveragePrecision: list[i].AveragePrecision, Chosen: i == best})
	}
	t.options.Network = &list[best].Options
	if !e.json {
		e.printf("search      %d trials, %d of them from %s; the best is number %d:\n            %s;\n            average precision %.4f where it calibrates, %.4f before the search\n",
			rep.Trials, rep.Resumed, t.journal, best+1, list[best].Words(), rep.AveragePrecision, rep.First)
	}
	return rep, nil
}

// readJournal returns the trials of a search that a journal holds, by their number.
// A line that a killed trainer left half written counts for nothing.
func readJournal(name, search string) (map[int]trainer.TrialResult, error) {
	data, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the journal of trials: %w", err)
	}
	done := make(map[int]trainer.TrialResult)
	for line := range bytes.Lines(data) {
		var r trainer.TrialResult
		if json.Unmarshal(line, &r) == nil && r.Search == search {
			done[r.Trial] = r
		}
	}
	return done, nil
}

// appendJournal adds a line, which is on the disk when it returns. Where the last one
// was left half written it begins a new one.
func appendJournal(name string, r *trainer.TrialResult) error {
	line, err := json.Marshal(r)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(name), 0o700)
	}
	if err != nil {
		return fmt.Errorf("journal of trials: %w", err)
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("journal of trials: %w", err)
	}
	line = append(line, '\n')
	if st, e := f.Stat(); e == nil && st.Size() > 0 {
		last := []byte{'\n'}
		if _, e := f.ReadAt(last, st.Size()-1); e == nil && last[0] != '\n' {
			line = append([]byte{'\n'}, line...)
		}
	}
	_, err = f.Write(line)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("journal of trials: %w", err)
	}
	return nil
}
