package main

import (
	"context"
	"flag"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/history"
	"github.com/weir-risk/weir/schemas"
	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/trainer"
)

// comparison are the flags of weir model compare.
type comparison struct {
	history        *historyFlags
	data           string
	bundles        []string
	from, to, asOf moment
	ripe           span
}

func addComparison(fs *flag.FlagSet) *comparison {
	c := &comparison{history: addHistory(fs)}
	fs.StringVar(&c.data, "data", "weir-data", "`FOLDER` of the SQLite file that compare reads, where --history names none")
	fs.Func("bundle", "bundle `FILE` of a challenger, if not in the topic of models (may be repeated)", func(name string) error {
		c.bundles = append(c.bundles, name)
		return nil
	})
	fs.Var(&c.from, "from", "compare from `WHEN`: 2026-05-01, or a time of RFC 3339")
	fs.Var(&c.to, "to", "compare what was before `WHEN`")
	fs.Var(&c.asOf, "as-of", "labels that were known by `WHEN` (now if not given)")
	fs.Var(&c.ripe, "ripe", "`AGE` from which no label means genuine (the spec's maturity if not given)")
	return c
}

// A pair is a champion and a challenger that scored the same transactions, and what
// came of it: a line of --json.
type pair struct {
	Champion   string `json:"champion"` // the beginning of the hash, as decisions have it
	Challenger string `json:"challenger"`
	Name       string `json:"name,omitempty"` // the challenger's
	From       string `json:"from"`           // event times
	To         string `json:"to"`
	Rows       int    `json:"decisions"`

	Correlation float64 `json:"correlation"` // of scores, 0 where one of them is always the same
	Apart       float64 `json:"mean_absolute_difference"`
	// Alerts are of each one's own operating point, exploration aside; nil where
	// the challenger's bundle is not known.
	Alerts *alertOverlap `json:"alerts,omitempty"`
	Labels labelled      `json:"labels"`

	from, to   int64
	mean       [2]float64
	square     [2]float64 // sums of squares about the means
	product    float64
	apart      float64
	challenger *scoring.Bundle
	scores     [2][]float32 // of rows with a label: the champion's, the challenger's
	fraud      []uint8
}

// alertOverlap counts decisions by who would have alerted.
type alertOverlap struct {
	Both       int `json:"both"`
	Champion   int `json:"only_champion"`
	Challenger int `json:"only_challenger"`
	// Overlap is the share of Both in all that either alerts; 0 where neither does.
	Overlap float64 `json:"overlap"`
}

// labelled is what the labels say of the decisions that have one, or are so old that
// none means genuine.
type labelled struct {
	Fraud      int     `json:"fraud"`
	Genuine    int     `json:"genuine"`
	Presumed   int     `json:"presumed_genuine"` // old, without a label
	Champion   judged  `json:"champion"`
	Challenger *judged `json:"challenger,omitempty"` // nil where its bundle is not known
	// Of the alerts of one alone, how many were right.
	OnlyChampion   *rightWrong `json:"only_champion,omitempty"`
	OnlyChallenger *rightWrong `json:"only_challenger,omitempty"`
	// The area under the precision-recall curve of each one's scores; nil where
	// there is no fraud.
	ChampionAP   *float64 `json:"champion_average_precision,omitempty"`
	ChallengerAP *float64 `json:"challenger_average_precision,omitempty"`
}

// rightWrong counts alerts with a label.
type rightWrong struct {
	Fraud   int `json:"fraud"`
	Genuine int `json:"genuine"`
}

// judged is how the alerts of one did.
type judged struct {
	rightWrong
	Missed    int     `json:"missed"`    // frauds that it did not alert
	Precision float64 `json:"precision"` // 0 where it alerted none of these
	Recall    float64 `json:"recall"`    // 0 where there is no fraud
}

// compareLive prints how challengers did beside champions.
func (m *modelRun) compareLive(ctx context.Context, e *env) error {
	c := m.compare
	q := history.RowQuery{Bare: true, From: math.MinInt64, To: c.to.ms, AsOf: c.asOf.ms}
	if c.from.set {
		q.From = c.from.ms
	}
	if !c.asOf.set {
		q.AsOf = time.Now().UnixMilli()
	}
	bundles, err := m.challengers(ctx, e)
	if err != nil {
		return err
	}
	s, err := m.labelSpec(bundles)
	if err != nil {
		return err
	}
	q.Sources = s.Sources[:]
	if !c.ripe.set {
		c.ripe.Duration = time.Duration(s.Maturity) * time.Millisecond
	}
	store, err := c.open(ctx, e)
	if err != nil {
		return err
	}
	defer store.Close()
	t := newTally(bundles, q.AsOf-c.ripe.Milliseconds())
	if err := store.Rows(ctx, q, func(rows *history.Chunk) error { t.add(rows); return nil }); err != nil {
		return err
	}
	pairs := t.end()
	if !e.json {
		printPairs(e, pairs, q.AsOf, c.ripe.Duration)
	}
	return e.report(map[string]any{"as_of": rfc3339(q.AsOf), "ripe": spanText(c.ripe.Duration), "pairs": pairs})
}

// challengers returns the bundles that are known: of --bundle, and of models where
// --kafka says where it is.
func (m *modelRun) challengers(ctx context.Context, e *env) (list []*scoring.Bundle, err error) {
	var files []bundleFile
	for _, name := range m.compare.bundles {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read bundle: %w", err)
		}
		files = append(files, bundleFile{name, data})
	}
	for _, f := range files {
		b, _, err := readAnyBundle(f)
		if err != nil {
			return nil, err
		}
		list = append(list, b)
	}
	if m.topic.kafka.brokers == "" {
		return list, nil
	}
	if err := m.open(ctx, e, nil); err != nil {
		return nil, err
	}
	for _, hash := range m.models.Bundles() {
		data, err := m.models.File(ctx, hash)
		if err != nil {
			return nil, err
		}
		// One that cannot be read was no challenger.
		if b, _, err := readAnyBundle(bundleFile{fmt.Sprintf("%.8x", hash), data}); err == nil {
			list = append(list, b)
		}
	}
	return list, nil
}

// labelSpec returns the spec that says what labels mean: the one that is given, or
// the bundles' newest, or the usual one.
func (m *modelRun) labelSpec(bundles []*scoring.Bundle) (*spec.Spec, error) {
	switch n := len(bundles); {
	case m.spec != "":
		return loadSpec(m.spec)
	case n > 0:
		return spec.Parse(bundles[n-1].Spec.Name, bundles[n-1].Spec.Text)
	}
	return loadSpec("payments")
}

// A tally gathers what rows say of pairs.
type tally struct {
	bundles map[uint64]*scoring.Bundle
	pairs   map[[2]uint64]*pair
	order   []*pair // as they were met
	ripe    int64   // event time up to which no label means genuine
}

func newTally(bundles []*scoring.Bundle, ripe int64) *tally {
	t := &tally{ripe: ripe, bundles: make(map[uint64]*scoring.Bundle), pairs: make(map[[2]uint64]*pair)}
	for _, b := range bundles {
		t.bundles[b.Prefix()] = b
	}
	return t
}

// add takes rows in that both scored.
func (t *tally) add(c *history.Chunk) {
	for i := range c.Len() {
		if c.Challenger[i] == 0 || c.Bundle[i] == 0 {
			continue
		}
		key := [2]uint64{c.Bundle[i], c.Challenger[i]}
		p := t.pairs[key]
		if p == nil {
			p = &pair{Champion: fmt.Sprintf("%016x", key[0]), Challenger: fmt.Sprintf("%016x", key[1]), from: c.Time[i], to: c.Time[i], challenger: t.bundles[key[1]]}
			if b := p.challenger; b != nil {
				p.Name, p.Alerts = b.Name, &alertOverlap{}
				p.Labels.Challenger, p.Labels.OnlyChampion, p.Labels.OnlyChallenger = &judged{}, &rightWrong{}, &rightWrong{}
			}
			t.pairs[key] = p
			t.order = append(t.order, p)
		}
		p.from, p.to = min(p.from, c.Time[i]), max(p.to, c.Time[i])
		p.agree(float64(c.Score[i]), float64(c.ChallengerScore[i]))
		p.judge(c, i, t.ripe)
	}
}

// agree takes a pair of scores into mean and co-moment (Welford).
func (p *pair) agree(a, b float64) {
	p.Rows++
	n := float64(p.Rows)
	da, db := a-p.mean[0], b-p.mean[1]
	p.mean[0] += da / n
	p.mean[1] += db / n
	p.square[0] += da * (a - p.mean[0])
	p.square[1] += db * (b - p.mean[1])
	p.product += da * (b - p.mean[1])
	p.apart += math.Abs(a - b)
}

// judge takes in who would have alerted row i, and what its label says.
func (p *pair) judge(c *history.Chunk, i int, ripe int64) {
	// Below the threshold the probability of review is the exploration's, which is
	// below 1.
	champion, challenger := c.ReviewProb[i] >= 1, false
	if b := p.challenger; b != nil {
		challenger = b.Decide(c.ChallengerScore[i], c.AmountBase[i], nil).ReviewProb >= 1
		switch {
		case champion && challenger:
			p.Alerts.Both++
		case champion:
			p.Alerts.Champion++
		case challenger:
			p.Alerts.Challenger++
		}
	}
	l, fraud := &p.Labels, uint8(0)
	switch {
	case c.Label[i] == schemas.LabelFraud:
		l.Fraud++
		fraud = 1
	case c.Label[i] == schemas.LabelGenuine:
		l.Genuine++
	case c.Time[i] <= ripe:
		l.Presumed++
	default:
		return
	}
	l.count(champion, challenger, fraud == 1)
	p.fraud = append(p.fraud, fraud)
	p.scores[0], p.scores[1] = append(p.scores[0], c.Score[i]), append(p.scores[1], c.ChallengerScore[i])
}

// count takes in who alerted a decision of which is known what it was.
func (l *labelled) count(champion, challenger, fraud bool) {
	l.Champion.count(champion, fraud)
	if l.Challenger == nil {
		return
	}
	l.Challenger.count(challenger, fraud)
	switch {
	case champion && !challenger:
		l.OnlyChampion.count(fraud)
	case challenger && !champion:
		l.OnlyChallenger.count(fraud)
	}
}

func (r *rightWrong) count(fraud bool) {
	if fraud {
		r.Fraud++
	} else {
		r.Genuine++
	}
}

func (j *judged) count(alerted, fraud bool) {
	if alerted {
		j.rightWrong.count(fraud)
	} else if fraud {
		j.Missed++
	}
}

func (j *judged) end() {
	j.Precision = part(j.Fraud, j.Fraud+j.Genuine)
	j.Recall = part(j.Fraud, j.Fraud+j.Missed)
}

// part returns a part's share of a whole, 0 where there is none.
func part(n, whole int) float64 { return float64(n) / float64(max(whole, 1)) }

// end computes what follows from the sums.
func (t *tally) end() []*pair {
	for _, p := range t.order {
		p.From, p.To = rfc3339(p.from), rfc3339(p.to)
		p.Apart = p.apart / float64(p.Rows)
		if p.square[0] > 0 && p.square[1] > 0 {
			p.Correlation = p.product / math.Sqrt(p.square[0]*p.square[1])
		}
		if a := p.Alerts; a != nil {
			a.Overlap = part(a.Both, a.Both+a.Champion+a.Challenger)
		}
		l := &p.Labels
		l.Champion.end()
		if l.Challenger != nil {
			l.Challenger.end()
		}
		if l.Fraud > 0 {
			a, b := trainer.AveragePrecision(p.scores[0], p.fraud), trainer.AveragePrecision(p.scores[1], p.fraud)
			l.ChampionAP, l.ChallengerAP = &a, &b
		}
	}
	return append([]*pair{}, t.order...)
}

func printPairs(e *env, pairs []*pair, asOf int64, ripe time.Duration) {
	if len(pairs) == 0 {
		e.printf("no decision has a challenger's score: weir model challenge BUNDLE makes one a challenger\n")
	}
	for i, p := range pairs {
		if i > 0 {
			e.printf("\n")
		}
		e.printf("challenger    %s  %s\nchampion      %s\ndecisions     %s, %s to %s\n", p.Challenger, p.Name, p.Champion, thousands(int64(p.Rows)), p.From, p.To)
		e.printf("scores        correlate by %.4f, apart by %.5f in the mean\n", p.Correlation, p.Apart)
		if a := p.Alerts; a != nil {
			e.printf("alerts        both %s, only the champion %s, only the challenger %s: %.1f %% in common\n",
				thousands(int64(a.Both)), thousands(int64(a.Champion)), thousands(int64(a.Challenger)), 100*a.Overlap)
		} else {
			e.printf("alerts        not known without the challenger's bundle: --kafka HOST:PORT or --bundle FILE\n")
		}
		p.Labels.print(e, asOf, ripe)
	}
}

func (l *labelled) print(e *env, asOf int64, ripe time.Duration) {
	e.printf("labels        %s fraud, %s genuine, known by %s\n", thousands(int64(l.Fraud)), thousands(int64(l.Genuine)), rfc3339(asOf))
	e.printf("              %s without one are %s old or older, and so genuine\n", thousands(int64(l.Presumed)), spanText(ripe))
	if l.Fraud+l.Genuine+l.Presumed == 0 {
		return
	}
	line := func(who string, j *judged, ap *float64) {
		e.printf("%-13s", who)
		if j != nil {
			e.printf(" precision %.3f (%d of %d), recall %.3f (%d of %d)", j.Precision, j.Fraud, j.Fraud+j.Genuine, j.Recall, j.Fraud, j.Fraud+j.Missed)
		}
		if ap != nil {
			e.printf("  average precision %.4f", *ap)
		}
		e.printf("\n")
	}
	line("  champion", &l.Champion, l.ChampionAP)
	line("  challenger", l.Challenger, l.ChallengerAP)
	if l.Challenger != nil {
		e.printf("  of the alerts of one alone, right were %d of %d of the champion's, %d of %d of the challenger's\n",
			l.OnlyChampion.Fraud, l.OnlyChampion.Fraud+l.OnlyChampion.Genuine, l.OnlyChallenger.Fraud, l.OnlyChallenger.Fraud+l.OnlyChallenger.Genuine)
	}
}
