package trainer

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"math"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/weir-risk/weir/scoring"
	"github.com/weir-risk/weir/scoring/cpu"
)

var trueWeights = []float64{1.5, -1, 0.5, 0, -2}

const trueBias = -3.5

// known draws rows whose chance of fraud is a logistic function of the columns,
// given in units that have nothing to do with it.
func knownWorld(seed uint64, rows int) (d *Dataset, chance []float64) {
	r := rand.New(rand.NewPCG(seed, 0))
	d = NewDataset([]string{"a", "b", "c", "noise", "e"})
	x := make([]float32, len(trueWeights))
	for i := range rows {
		dot := trueBias
		for c, w := range trueWeights {
			z := r.NormFloat64()
			x[c] = float32(z*math.Pow(10, float64(c-1)) + float64(7*c))
			dot += w * z
		}
		p := 1 / (1 + math.Exp(-dot))
		chance = append(chance, p)
		d.AddCard(x, r.Float64() < p, int64(i)*60_000, int64(100+r.IntN(10_000)), uint64(1+r.IntN(500)))
	}
	return d, chance
}

func plain() Options {
	o := DefaultOptions()
	o.Logs, o.L2 = false, 0
	return o
}

func TestFitFindsTheModelThatMadeTheData(t *testing.T) {
	d, chance := knownWorld(1, 100_000)
	r, err := Fit(t.Context(), d, plain(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for c, want := range trueWeights {
		if got := r.Logistic.Weight[c]; math.Abs(got-want) > 0.08 {
			t.Errorf("weight of %s is %.3f, not %g", r.Names[c], got, want)
		}
	}
	if math.Abs(r.Logistic.Bias-trueBias) > 0.1 {
		t.Errorf("bias is %.3f, not %g", r.Logistic.Bias, trueBias)
	}
	// No model ranks better than the truth itself, and a fit of so many rows
	// hardly worse.
	from := 85_000
	best := make([]float32, d.Rows()-from)
	for i := range best {
		best[i] = float32(chance[from+i])
	}
	y := d.Y[from:]
	if a, b := r.Held.AUC, AUC(best, y); math.Abs(a-b) > 0.002 {
		t.Errorf("ROC AUC %.4f, of the truth %.4f", a, b)
	}
	if a, b := r.Held.AveragePrecision, AveragePrecision(best, y); math.Abs(a-b) > 0.01 {
		t.Errorf("average precision %.4f, of the truth %.4f", a, b)
	}
	if e := r.Held.Expected; math.Abs(e-1) > 0.1 {
		t.Errorf("expected %.3f times the frauds seen", e)
	}
	if n := r.Held.Reviewed; n < 40 || n > 120 {
		t.Errorf("%d of %d rows reviewed at a share of 0.005", n, r.Held.Rows)
	}
}

// Frauds that count more move scores and not what they mean: calibration takes
// the weight out again.
func TestCalibrationUndoesWeights(t *testing.T) {
	d, _ := knownWorld(2, 60_000)
	o := plain()
	o.FraudWeight = 20
	r, err := Fit(t.Context(), d, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	if e := r.Held.Expected; math.Abs(e-1) > 0.12 {
		t.Errorf("expected %.3f times the frauds seen", e)
	}
	if c := r.Calibration; c.Kind != scoring.Beta || c.C > -2 {
		t.Errorf("calibration %+v", c)
	}
}

func TestLogsFindWhatALineCannot(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	d := NewDataset([]string{"amount"})
	for i := range 40_000 {
		amount := math.Exp(3 + 2*r.NormFloat64())
		p := 1 / (1 + math.Exp(-(math.Log(amount) - 7)))
		d.Add([]float32{float32(amount)}, r.Float64() < p, int64(i), 0)
	}
	fit := func(logs bool) float64 {
		o := plain()
		o.Logs = logs
		res, err := Fit(t.Context(), d, o, nil)
		if err != nil {
			t.Fatal(err)
		}
		return res.Held.LogLoss
	}
	if with, without := fit(true), fit(false); with > 0.99*without {
		t.Errorf("log-loss %.5f with logarithms, %.5f without", with, without)
	}
}

func TestGradientIsTheSlopeOfTheLoss(t *testing.T) {
	d, _ := knownWorld(4, 20_000) // of several chunks
	l := standardise(d, true)
	terms := len(l.Column)
	o := newObjective(l.design(d), d, terms, 3, 0.1)
	r := rand.New(rand.NewPCG(4, 4))
	p := make([]float64, terms+1)
	for i := range p {
		p[i] = r.NormFloat64()
	}
	grad := make([]float64, len(p))
	o.gradient(grad, p)
	for i := range p {
		const h = 1e-5
		v := p[i]
		p[i] = v + h
		up := o.value(p)
		p[i] = v - h
		down := o.value(p)
		p[i] = v
		if want := (up - down) / (2 * h); math.Abs(grad[i]-want) > 1e-6 {
			t.Errorf("parameter %d: %g, not %g", i, grad[i], want)
		}
	}
}

// What was learnt from is what is served: the design matrix and the scorer
// compute the same logits, up to the rounding of sums, missing values and
// absurd ones included.
func TestServedScoresAreThoseLearnt(t *testing.T) {
	d, _ := knownWorld(5, 5_000)
	r := rand.New(rand.NewPCG(5, 5))
	for i := range d.X {
		switch r.IntN(20) {
		case 0:
			d.X[i] = float32(math.NaN())
		case 1:
			d.X[i] = float32(math.Inf(1 - 2*r.IntN(2)))
		case 2:
			d.X[i] *= 1e20
		}
	}
	l := standardise(d.Slice(0, 4_000), true)
	for t := range l.Weight {
		l.Weight[t] = r.NormFloat64() / 4
	}
	l.Bias = 0.3
	s, err := cpu.New(l.Model())
	if err != nil {
		t.Fatal(err)
	}
	scores, err := score(s, d)
	if err != nil {
		t.Fatal(err)
	}
	z := l.design(d)
	for i, got := range scores {
		dot := l.Bias
		for t, w := range l.Weight {
			dot += w * float64(z[i*len(l.Weight)+t])
		}
		if want := 1 / (1 + math.Exp(-dot)); math.Abs(float64(got)-want) > 1e-5 {
			t.Fatalf("row %d scores %g, learnt as %g: %v", i, got, want, d.Row(i))
		}
	}
}

func sealed(t *testing.T, d *Dataset, o Options) ([]byte, *scoring.Bundle) {
	t.Helper()
	r, err := Fit(t.Context(), d, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	spec := scoring.SpecText{Name: "test", Text: []byte("amount"), Hash: sha256.Sum256([]byte("amount"))}
	b, err := r.Bundle("first", spec)
	if err != nil {
		t.Fatal(err)
	}
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	data, read, err := Seal(b, key)
	if err != nil {
		t.Fatal(err)
	}
	return data, read
}

func TestSameDataGivesSameBytes(t *testing.T) {
	d, _ := knownWorld(6, 40_000)
	o := DefaultOptions()
	o.RowsMax = 20_000
	o.Explore, o.ExploreKey = 0.001, [16]byte{1}
	first, read := sealed(t, d, o)
	if len(read.Background) == 0 || len(read.SelfTestScores) != 64 {
		t.Errorf("%d background numbers, %d self-test rows", len(read.Background), len(read.SelfTestScores))
	}
	s, err := cpu.New(read.Model)
	if err != nil {
		t.Fatal(err)
	}
	if err := read.SelfTest(s); err != nil {
		t.Error(err)
	}
	procs := runtime.GOMAXPROCS(1)
	second, _ := sealed(t, d, o)
	runtime.GOMAXPROCS(procs)
	// Rows of the same times in another order of adding, too.
	shuffled := NewDataset(d.Names)
	for _, i := range rand.New(rand.NewPCG(9, 9)).Perm(d.Rows()) {
		shuffled.AddCard(d.Row(i), d.Y[i] != 0, d.Time[i], d.AmountBase[i], d.Card[i])
	}
	third, _ := sealed(t, shuffled, o)
	if !bytes.Equal(first, second) || !bytes.Equal(first, third) {
		t.Error("the same data gives other bytes")
	}
}

func TestFitReportsProgressAndSummary(t *testing.T) {
	d, _ := knownWorld(7, 20_000)
	last, calls := 0, 0
	r, err := Fit(t.Context(), d, DefaultOptions(), func(done, total int) {
		if done < last || done > total {
			t.Fatalf("%d of %d after %d", done, total, last)
		}
		last = done
		calls++
	})
	if err != nil {
		t.Fatal(err)
	}
	if calls < 3 || last != r.Facts.Iterations {
		t.Errorf("%d calls, the last of %d of %d iterations", calls, last, r.Facts.Iterations)
	}
	text := r.Summary()
	for line := range strings.Lines(text) {
		if len(strings.TrimSuffix(line, "\n")) > 80 {
			t.Errorf("%d columns: %s", len(line)-1, line)
		}
	}
	for _, want := range []string{"14000 transactions", "average precision 0.", "card precision", "of frauds", "log"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestGapIsLeftOut(t *testing.T) {
	d, _ := knownWorld(8, 30_000) // a row a minute: 20.8 days
	o := plain()
	o.Gap = 24 * time.Hour
	fit, calibrate, held, err := Cut(d, &o)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := calibrate.Time[0]-fit.Time[fit.Rows()-1], held.Time[0]-calibrate.Time[calibrate.Rows()-1]; min(a, b) < 86_400_000 {
		t.Errorf("gaps of %d and %d ms", a, b)
	}
	if fit.Rows() != 21_000 || calibrate.Rows() != 4_500-1_440 || held.Rows() != 4_500-1_440 {
		t.Errorf("%d, %d, %d rows", fit.Rows(), calibrate.Rows(), held.Rows())
	}
}

func TestFitFailure(t *testing.T) {
	good, _ := knownWorld(10, 5_000)
	f := func(d *Dataset, spoil func(o *Options), want error) {
		t.Helper()
		o := DefaultOptions()
		if spoil != nil {
			spoil(&o)
		}
		_, err := Fit(t.Context(), d, o, nil)
		if err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("%v, not %v", err, want)
		}
	}
	f(NewDataset([]string{"a"}), nil, ErrTooFew)
	f(good.Slice(0, 50), nil, ErrTooFew)
	genuine := good.Slice(0, 5_000)
	genuine.Y = make([]uint8, 5_000)
	f(genuine, nil, ErrTooFew)
	constant := NewDataset([]string{"a", "b"})
	for i := range 1_000 {
		constant.Add([]float32{0.1, float32(math.NaN())}, i%10 == 0, int64(i), 0)
	}
	f(constant, nil, ErrTooFew)
	f(good, func(o *Options) { o.Gap = 1000 * time.Hour }, ErrTooFew)
	f(good, func(o *Options) { o.FitShare = 0.9 }, nil)
	f(good, func(o *Options) { o.FitShare = 0 }, nil)
	f(good, func(o *Options) { o.L2 = math.NaN() }, nil)
	f(good, func(o *Options) { o.FraudWeight = 0 }, nil)
	f(good, func(o *Options) { o.Iterations = 0 }, nil)
	f(good, func(o *Options) { o.ReviewShare = 0 }, nil)
	f(good, func(o *Options) { o.Explore = 0.1 }, nil)
	f(good, func(o *Options) { o.Rank = 9 }, nil)
}

// The metrics at the operating point are of what the bundle decides: counted
// from its rulings on the rows held out, for each rank key.
func TestHeldOutMetricsAreWhatTheBundleDecides(t *testing.T) {
	d, _ := knownWorld(11, 30_000)
	for _, key := range []scoring.RankKey{scoring.ByProb, scoring.BySqrtAmount, scoring.ByAmount} {
		o := DefaultOptions()
		o.Rank, o.ReviewShare = key, 0.02
		r, err := Fit(t.Context(), d, o, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, b := sealed(t, d, o)
		_, held := d.Split(d.Time[int(0.85*30_000)])
		s, err := cpu.New(b.Model)
		if err != nil {
			t.Fatal(err)
		}
		scores, err := score(s, held)
		if err != nil {
			t.Fatal(err)
		}
		var reviewed, hits, caught, frauds, money float64
		for i, p := range scores {
			y, amount := float64(held.Y[i]), float64(held.AmountBase[i])
			frauds, money = frauds+y, money+y*amount
			if b.Decide(p, held.AmountBase[i], []byte{1}).Action != 0 {
				reviewed, hits, caught = reviewed+1, hits+y, caught+y*amount
			}
		}
		m := r.Held
		if float64(m.Reviewed) != reviewed || m.Rows != held.Rows() || float64(m.Frauds) != frauds ||
			math.Abs(m.Precision-hits/reviewed) > near || math.Abs(m.Recall-hits/frauds) > near ||
			math.Abs(m.MoneyRecall-caught/money) > near || hits == 0 {
			t.Errorf("key %d: %+v, counted %g reviewed, %g of %g frauds, %g of %g", key, m, reviewed, hits, frauds, caught, money)
		}
	}
}

// A network goes through calibration, operating point and bundle as a regression
// does, and finds more where there is more to find.
func TestFitNetwork(t *testing.T) {
	d, _ := hills(11, 30_000)
	o := plain()
	o.Logs = true
	line, err := Fit(t.Context(), d, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	network := DefaultNetwork()
	network.Epochs = 6
	o.Network = &network
	r, err := Fit(t.Context(), d, o, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, than := r.Held.AveragePrecision, line.Held.AveragePrecision; got < 1.5*than {
		t.Errorf("average precision %.3f, of a regression %.3f", got, than)
	}
	if e := r.Held.Expected; math.Abs(e-1) > 0.2 {
		t.Errorf("expected %.3f times the frauds seen", e)
	}
	text := []byte("spec test\n")
	b, err := r.Bundle("network", scoring.SpecText{Name: "test", Text: text, Hash: sha256.Sum256(text)})
	if err != nil {
		t.Fatal(err)
	}
	_, private, _ := ed25519.GenerateKey(nil)
	if _, read, err := Seal(b, private); err != nil || !strings.Contains(string(read.Facts), `"network"`) {
		t.Errorf("sealed: %v", err)
	}
	if s := r.Summary(); !strings.Contains(s, "8 networks of 64 64 over 3 of 4 features") {
		t.Errorf("summary:\n%s", s)
	}
	o.Network = &NetworkOptions{Widths: []int{63}}
	if _, err := Fit(t.Context(), d, o, nil); err == nil || !strings.Contains(err.Error(), "Widths cannot be [63]") {
		t.Errorf("a width of 63: %v", err)
	}
}

// A fit ends within a step of its context, whatever it fits.
func TestFitEndsWithItsContext(t *testing.T) {
	d, _ := knownWorld(1, 4000)
	network := DefaultNetwork()
	network.Widths, network.Epochs = []int{64}, 1000
	for name, o := range map[string]Options{"regression": plain(), "network": plain(), "baseline in folds": plain()} {
		switch name {
		case "network":
			o.Network = &network
		case "baseline in folds":
			o.CalibrateFolds = 3
		}
		ctx, cancel := context.WithCancel(t.Context())
		steps := 0
		_, err := Fit(ctx, d, o, func(done, _ int) {
			steps++
			cancel()
		})
		if !errors.Is(err, context.Canceled) || steps > 2 {
			t.Errorf("%s: %d steps, then %v", name, steps, err)
		}
		cancel()
	}
}
