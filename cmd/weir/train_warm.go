package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/trainer"
)

// How a network goes on from the champion's, where --epochs says nothing else: one
// look at the frauds, with an eighth of the steps. What was learnt before stays, and
// on the Handbook stream it did no worse than learning from scratch each night.
const (
	warmEpochs = 1
	warmRate   = 1. / 8
)

// warmUp has learning begin from the champion's network. What the champion learnt
// from must not be among the rows that calibrate or are held out: these would say
// that the model is better than it is.
func (t *training) warmUp(e *env, rows *trainer.Dataset, champion *scoring.Bundle) error {
	if champion == nil {
		fmt.Fprintln(e.stderr, "there is no champion to go on from: this one learns from scratch")
		return nil
	}
	n, err := trainer.ResumeNetwork(champion.Model)
	if err != nil {
		return fmt.Errorf("--warm goes on from the champion %s: %w; train without --warm", champion.Name, err)
	}
	if err := n.Fits(len(rows.Names), t.options.Network); err != nil {
		return fmt.Errorf("--warm: %s, the champion: %w; train without --warm", champion.Name, err)
	}
	rows.Sort()
	_, calibrate, _, err := trainer.Cut(rows, &t.options)
	if errors.Is(err, trainer.ErrTooFew) {
		return nil // which learning says with the counts
	}
	if err != nil {
		return err
	}
	var facts trainer.Facts
	if err := json.Unmarshal(champion.Facts, &facts); err != nil || facts.To == "" {
		return fmt.Errorf("--warm: the champion %s does not say what it learnt from; train without --warm", champion.Name)
	}
	if from := rfc3339(calibrate.Time[0]); facts.To > from {
		return fmt.Errorf("--warm: the champion %s learnt from days up to %s, and the rows that calibrate begin on %s: a larger --fit-share, or later rows, keep these apart",
			champion.Name, facts.To, from)
	}
	network := *t.options.Network
	if t.network.Epochs == 0 {
		network.Epochs = warmEpochs
	}
	network.Rate *= warmRate
	t.options.Network, t.options.Warm = &network, n
	return nil
}
