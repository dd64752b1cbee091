package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"strconv"

	"github.com/weir-risk/weir/features"
	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/schemas"
)

// memoryFigures are of a state in memory.
type memoryFigures struct {
	Entities  int     `json:"entities"`
	Kept      int64   `json:"kept"` // events, in each ring that keeps them
	Accounted int64   `json:"accounted_bytes"`
	Resident  int64   `json:"rss_bytes"` // more than before the state
	PerKept   float64 `json:"bytes_per_kept"`
	Apart     float64 `json:"rss_apart"` // of what is accounted, a share
}

// entityBytes is what each entity may take besides what it keeps.
const entityBytes = 256

// memory measures a state in a process of its own.
func (b *featuresBench) memory(ctx context.Context, e *env) (*memoryFigures, error) {
	c, err := startChild(e, anyCore, "memory", "--customers", strconv.Itoa(max(1, b.entities/2)))
	if err != nil {
		return nil, err
	}
	defer c.stop()
	text, err := c.line(ctx)
	if err != nil {
		return nil, err
	}
	f := &memoryFigures{}
	if err := json.Unmarshal([]byte(text), f); err != nil {
		return nil, fmt.Errorf("measure memory: %w", err)
	}
	e.printf("memory  %s entities, %s kept events and rings: %d MiB accounted, %d MiB resident (%+.1f %%); besides %d bytes an entity %.1f bytes each\n",
		thousands(int64(f.Entities)), thousands(f.Kept), f.Accounted>>20, f.Resident>>20, 100*f.Apart, entityBytes, f.PerKept)
	return f, nil
}

// memory is the process of that measurement.
func (r *benchWork) memory(ctx context.Context, e *env) error {
	s, ok := spec.Builtin("handbook")
	if !ok {
		panic("BUG: the handbook spec is not built in")
	}
	before := memoryOf("self", "VmRSS")
	engine := features.New(s, features.Options{})
	g := newBookStream(r.customers, r.customers)
	x := make([]float32, keyRows*engine.Width())
	var rows schemas.Batch
	for g.fill(&rows, keyRows) {
		if ctx.Err() != nil {
			return nil
		}
		engine.Step(&rows, x[:rows.Len()*engine.Width()], nil)
	}
	debug.FreeOSMemory()
	f := memoryFigures{Entities: engine.Entities(), Kept: 2 * int64(g.n), Accounted: engine.Bytes(), Resident: memoryOf("self", "VmRSS") - before}
	f.PerKept = (float64(max(f.Accounted, f.Resident)) - entityBytes*float64(f.Entities)) / float64(f.Kept)
	f.Apart = float64(f.Resident)/float64(f.Accounted) - 1
	line, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("encode the measurement: %w", err)
	}
	e.printf("%s\n", line)
	return nil
}

// bookEvents is how many events of each customer and terminal a large state holds,
// within the 30 days of the handbook spec's longest window.
const bookEvents = 30

// A bookStream makes a state of the handbook spec: bookEvents rounds in each of which
// every customer pays once, at terminals drawn so that each is met as often.
type bookStream struct {
	r         *rand.Rand
	customers []int32 // in the round's order
	terminals []int32
	n         int // events made
	begin     int64
	text      []byte
}

func newBookStream(customers, terminals int) *bookStream {
	g := &bookStream{r: rand.New(rand.NewPCG(3, 1)), customers: make([]int32, customers), terminals: make([]int32, terminals), begin: keyBegin}
	for i := range g.customers {
		g.customers[i] = int32(i)
	}
	for i := range g.terminals {
		g.terminals[i] = int32(i)
	}
	return g
}

// total is how many events the stream has.
func (g *bookStream) total() int { return bookEvents * len(g.customers) }

// at is when event n is: all within 30 days.
func (g *bookStream) at(n int) int64 {
	return g.begin + int64(float64(n)*float64(keySpan.Milliseconds()-1)/float64(g.total()))
}

// fill fills a batch with the next n events, fewer at the end; false when there are none.
func (g *bookStream) fill(b *schemas.Batch, n int) bool {
	b.Reset(0, 0)
	for i := 0; i < n && g.n < g.total(); i++ {
		b.Add(schemas.Place{})
		g.next(b, i)
	}
	return b.Len() > 0
}

// next writes the next event to row i.
func (g *bookStream) next(b *schemas.Batch, i int) {
	c, t := g.n%len(g.customers), g.n%len(g.terminals)
	if c == 0 {
		g.r.Shuffle(len(g.customers), func(i, j int) { g.customers[i], g.customers[j] = g.customers[j], g.customers[i] })
	}
	if t == 0 {
		g.r.Shuffle(len(g.terminals), func(i, j int) { g.terminals[i], g.terminals[j] = g.terminals[j], g.terminals[i] })
	}
	amount := 1 + int64(g.r.Uint32()%50_000)
	b.Tx[i] = schemas.Transaction{Time: g.at(g.n), Amount: amount, AmountBase: amount}
	set := func(f schemas.TextField, id int) {
		g.text = strconv.AppendInt(g.text[:0], int64(id), 10)
		b.SetBytes(i, f, g.text)
	}
	set(schemas.ID, g.n)
	set(schemas.Customer, int(g.customers[c]))
	set(schemas.Terminal, int(g.terminals[t]))
	g.n++
}
