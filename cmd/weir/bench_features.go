package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/weir-risk/weir/features"
	"github.com/weir-risk/weir/features/spec"
	hugepages "github.com/weir-risk/weir/ingest/pages"
	"github.com/weir-risk/weir/ingest/peer"
	"github.com/weir-risk/weir/schemas"
)

var benchFeatures = &command{
	name: "bench features", summary: "the engine alone: a key's update beside a Go map's, late events, memory", json: true,
	about: `Update: count and mean of the amount over five windows of 30 days and less, random
keys, --events of each within the longest; beside it, in turn, the engine that one
would write first: a map of entities, each with a slice of events and running sums.
Late: the same entities where every other event comes so many events of the stream
behind its place; and, with --deep, so many of its own entity's. Memory: the
handbook spec with --entities, half of them customers and half terminals, 30 events
each within 30 days, in a process of its own: what the kernel says, what weir accounts.
All of it is CPU of one goroutine, by the kernel's account; the warm-up is apart, and
the engine's memory gathered into huge pages after it, as weir score has it.`,
	examples: []string{
		"weir bench features --json                     # a million entities",
		"weir bench features --entities 100000 --runs 3 # a quick look",
		"weir bench features --only memory",
	},
	flags: func(fs *flag.FlagSet) func(context.Context, *env, []string) error {
		b := &featuresBench{}
		fs.IntVar(&b.entities, "entities", 1_000_000, "`NUMBER` of entities")
		fs.IntVar(&b.events, "events", 20, "`NUMBER` of events of each within the longest window")
		fs.IntVar(&b.rows, "rows", 1_000_000, "`NUMBER` of events of a run")
		fs.IntVar(&b.runs, "runs", 5, "`NUMBER` of runs of each, in turn")
		fs.StringVar(&b.only, "only", "", "`PART` alone: update, late or memory")
		fs.BoolVar(&b.deep, "deep", false, "also events late by so many of their own entity's")
		fs.StringVar(&b.profile, "profile", "", "`FILE` for a CPU profile of weir's updates")
		return func(ctx context.Context, e *env, _ []string) error { return b.run(ctx, e) }
	},
}

// featuresBench is one run of the measurement.
type featuresBench struct {
	entities, events, rows, runs int
	only, profile                string
	deep                         bool
}

type engineReport struct {
	Machine  benchMachine   `json:"machine"`
	Entities int            `json:"entities"`
	Update   *updateFigures `json:"update,omitempty"`
	Late     []lateFigures  `json:"late,omitempty"`
	Memory   *memoryFigures `json:"memory,omitempty"`
}

// updateFigures are of an update of one key, with the ten features of five windows.
type updateFigures struct {
	Weir    runSpread `json:"cpu_ns_per_key"`
	Map     runSpread `json:"map_cpu_ns_per_key"`
	Times   float64   `json:"times_the_map"`
	Mallocs float64   `json:"allocs_per_key"`
}

// lateFigures are of events that come late by a distance, beside the same in order.
type lateFigures struct {
	Distance int       `json:"distance"`
	Of       string    `json:"of"` // what the distance counts: events of the stream, or of the entity
	Weir     runSpread `json:"cpu_ns_per_key"`
	Times    float64   `json:"times_in_order"`
}

func (b *featuresBench) run(ctx context.Context, e *env) error {
	if b.entities < 1 || b.events < 1 || b.rows < 1 || b.runs < 1 {
		return usagef("--entities, --events, --rows and --runs are above 0")
	}
	part := func(name string) bool { return b.only == "" || b.only == name }
	if b.only != "" && b.only != "update" && b.only != "late" && b.only != "memory" {
		return usagef("--only: there is no part %q", b.only)
	}
	r := engineReport{Entities: b.entities}
	var err error
	if r.Machine, err = machineOf(""); err != nil {
		return err
	}
	r.Machine.print(e)
	if part("memory") { // first: a large heap beside it would slow its process
		if r.Memory, err = b.memory(ctx, e); err != nil {
			return err
		}
	}
	if part("update") {
		if r.Update, err = b.update(ctx, e); err != nil {
			return err
		}
	}
	if part("late") {
		if r.Late, err = b.late(ctx, e); err != nil {
			return err
		}
	}
	return e.report(r)
}

// keySpan is the longest window of the measured updates.
const keySpan = 30 * 24 * time.Hour

// fiveWindows is the spec of updates: no home, so that nothing but the windows is kept.
// An event may come so late.
func fiveWindows(late string) (*spec.Spec, error) {
	text := "spec bench\nbase EUR\nfield id = $.id\nfield time = $.time as rfc3339\nfield amount = $.amount decimal\n" +
		"field currency = \"EUR\"\nfield customer = $.customer\nscored authorisation\nlate " + late + "\n"
	for share := 5; share > 0; share-- {
		hours := int(keySpan.Hours()) / share
		text += fmt.Sprintf("count() by customer over %dh\nmean(amount) by customer over %dh\n", hours, hours)
	}
	return spec.Parse("bench", []byte(text+"fallback review when amount > 1000\n"))
}

// mapEngine returns what steps batches through a new Go map engine of the same windows.
func mapEngine() func(b *schemas.Batch, x []float32) {
	span := keySpan.Milliseconds()
	w := peer.NewWindows(span+(36*time.Hour).Milliseconds(), span/5, span/4, span/3, span/2, span)
	return func(b *schemas.Batch, x []float32) {
		for i := range b.Tx {
			w.Take(b.Bytes(i, schemas.Customer), b.Tx[i].Time, b.Tx[i].AmountBase, x[10*i:10*i+10])
		}
	}
}

// keyRows is how many events an engine is given at once.
const keyRows = 512

// A keyStream draws events of random customers, evenly spaced in time.
type keyStream struct {
	r        *rand.Rand
	entities int
	every    float64 // ms from one to the next
	n        int     // events drawn
	late     int     // every other event is so many places behind
	text     []byte
}

// begin is the time of a stream's first event, ms.
const keyBegin = int64(1_700_000_000_000)

func newKeyStream(entities, events, late int) *keyStream {
	return &keyStream{r: rand.New(rand.NewPCG(1, 1)), entities: entities, late: late,
		every: float64(keySpan.Milliseconds()) / float64(entities) / float64(events)}
}

func (g *keyStream) fill(b *schemas.Batch) {
	b.Reset(0, 0)
	for i := range keyRows {
		b.Add(schemas.Place{})
		at := g.n
		if g.n++; g.n%2 == 0 {
			at = max(0, at-g.late)
		}
		amount := int64(g.r.Uint32() >> 12)
		b.Tx[i] = schemas.Transaction{Time: keyBegin + int64(float64(at)*g.every), Amount: amount, AmountBase: amount}
		g.text = strconv.AppendInt(append(g.text[:0], "customer-"...), int64(g.r.IntN(g.entities)), 10)
		b.SetBytes(i, schemas.Customer, g.text)
	}
}

// warm gives n events to step.
func (g *keyStream) warm(ctx context.Context, n int, step func(*schemas.Batch)) error {
	var b schemas.Batch
	for end := g.n + n; g.n < end; {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		g.fill(&b)
		step(&b)
	}
	return nil
}

// keyBatches is how many batches are made before any is taken: what makes them
// would leave cold what a node finds warm.
const keyBatches = 64

// run gives n events to step and returns what each took of the processor: beside
// others on the machine the clock says less.
func (g *keyStream) run(n int, batches []schemas.Batch, step func(*schemas.Batch)) (ns float64) {
	var done int
	var spent time.Duration
	for done < n {
		for i := range batches {
			g.fill(&batches[i])
		}
		before := processorTime()
		for i := range batches {
			step(&batches[i])
		}
		spent += processorTime() - before
		done += len(batches) * keyRows
	}
	return float64(spent) / float64(done)
}

// rounds is how often each entity is met before anything is measured: once more than
// the longest window holds, so that all of them move.
func (b *featuresBench) rounds() int { return b.entities * (b.events + 1) }

func (b *featuresBench) update(ctx context.Context, e *env) (*updateFigures, error) {
	s, err := fiveWindows("36h")
	if err != nil {
		return nil, err
	}
	engine, others := features.New(s, features.Options{}), mapEngine()
	x := make([]float32, keyRows*engine.Width())
	ours, theirs := newKeyStream(b.entities, b.events, 0), newKeyStream(b.entities, b.events, 0)
	step := func(batch *schemas.Batch) { engine.Step(batch, x, nil) }
	if err := ours.warm(ctx, b.rounds(), step); err != nil {
		return nil, err
	}
	mapStep := func(batch *schemas.Batch) { others(batch, x) }
	if err := theirs.warm(ctx, b.rounds(), mapStep); err != nil {
		return nil, err
	}
	batches := make([]schemas.Batch, keyBatches)
	ours.run(1, batches, step) // the batches have their size
	hugepages.Gather(engine.Slabs)
	var weir, maps []float64
	f := &updateFigures{}
	for range b.runs {
		before := usageNow().Mallocs
		weir = append(weir, ours.run(b.rows, batches, step))
		f.Mallocs += float64(usageNow().Mallocs-before) / float64(b.rows*b.runs)
		maps = append(maps, theirs.run(b.rows, batches, mapStep))
	}
	f.Weir, f.Map = spreadOf(weir), spreadOf(maps)
	f.Times = f.Map.Median / f.Weir.Median
	e.printf("update  %s ns of CPU a key, 5 windows, %s entities, %.4f allocations; a Go map engine %s: %.2f times\n",
		f.Weir, thousands(int64(b.entities)), f.Mallocs, f.Map, f.Times)
	if b.profile != "" {
		return f, profiled(b.profile, func() { ours.run(4*b.rows, batches, step) })
	}
	return f, nil
}

// lateDistances are how many events an event comes behind its place.
var lateDistances = []int{1, 1024, 65_536}

func (b *featuresBench) late(ctx context.Context, e *env) (list []lateFigures, err error) {
	s, err := fiveWindows("15d") // what is later than that is not placed at all
	if err != nil {
		return nil, err
	}
	one := func(entities, events, budget, distance, rows int, of string, inOrder *float64) error {
		engine := features.New(s, features.Options{EntityRows: budget})
		x := make([]float32, keyRows*engine.Width())
		g := newKeyStream(entities, events, 0)
		step := func(batch *schemas.Batch) { engine.Step(batch, x, nil) }
		if err := g.warm(ctx, entities*(events+1), step); err != nil {
			return err
		}
		g.late = distance
		batches := make([]schemas.Batch, min(keyBatches, rows/keyRows+1))
		g.run(1, batches, step)
		hugepages.Gather(engine.Slabs)
		var runs []float64
		for range b.runs {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			runs = append(runs, g.run(rows, batches, step))
		}
		f := lateFigures{Distance: distance, Of: of, Weir: spreadOf(runs)}
		if distance == 0 {
			*inOrder = f.Weir.Median
		}
		f.Times = f.Weir.Median / *inOrder
		list = append(list, f)
		e.printf("late    every other event %s events of the %s behind: %s ns of CPU a key, %.2f times in order\n", thousands(int64(distance)), of, f.Weir, f.Times)
		return nil
	}
	var inOrder float64
	for _, d := range append([]int{0}, lateDistances...) {
		if err := one(b.entities, b.events, 0, d, b.rows, "stream", &inOrder); err != nil {
			return nil, err
		}
	}
	if !b.deep {
		return list, nil
	}
	for _, d := range append([]int{0}, lateDistances...) {
		if err := one(1, 4*lateDistances[2], 1<<19, d, keyRows, "entity", &inOrder); err != nil {
			return nil, err
		}
	}
	return list, nil
}
