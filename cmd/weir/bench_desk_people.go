package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"
)

const benchPassword = "correct horse battery"

// benchPages are the kinds of pages that are measured.
var benchPages = []string{"start", "queue", "queue filtered", "queue page 2", "case", "case history", "next", "act", "print", "second looks",
	"supervisor", "person", "models", "audit", "audit filtered"}

// benchFilters are what analysts look for.
var benchFilters = []string{"min=90", "amount=900", "channel=pos", "reason=velocity", "status=claimed", "status=fraud", "text=k1.card0001", "text=0-77", "min=50&channel=ecom&reason=device"}

// benchTrails are what auditors look for.
var benchTrails = []string{"who=before", "what=claimed", "of=%2Fqueue", "who=analyst1&what=viewed", "what=login_failed"}

// A benchAnalyst works with a browser and a session of its own.
type benchAnalyst struct {
	b       *deskBench
	name    string
	lead    bool // they look at what others do, and work no alerts
	browser *http.Client
	r       *rand.Rand
	phase   string
	queue   string // the body of the last queue
	id      string // of the alert before them
	body    string // its page

	took   map[string][]int32 // microseconds, by phase and page
	bytes  map[string][]int32 // of pages, the same
	errors int
}

func newBenchAnalyst(b *deskBench, i int, lead bool) *benchAnalyst {
	jar, _ := cookiejar.New(nil) // it never fails without options
	return &benchAnalyst{b: b, name: fmt.Sprintf("analyst%d", i), lead: lead, r: rand.New(rand.NewPCG(2, uint64(i))),
		took: make(map[string][]int32), bytes: make(map[string][]int32),
		browser: &http.Client{Jar: jar, Transport: &http.Transport{MaxIdleConnsPerHost: 4},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// enter logs the analysts in, two at a time, and opens their streams. The function that
// it returns waits until the streams have ended, which they do with the context.
func (b *deskBench) enter(ctx context.Context, people []*benchAnalyst) (ended func(), err error) {
	var streams, entering sync.WaitGroup
	turns := make(chan struct{}, 2)
	errs := make([]error, len(people))
	for i, p := range people {
		turns <- struct{}{}
		entering.Go(func() {
			defer func() { <-turns }()
			p.phase = "log"
			p.ask(ctx, "in", "/login", url.Values{"name": {p.name}, "password": {benchPassword}})
			if p.errors > 0 {
				errs[i] = fmt.Errorf("%s is not let in", p.name)
				return
			}
			streams.Go(func() { p.listen(ctx) })
		})
	}
	entering.Wait()
	return streams.Wait, errors.Join(errs...)
}

// phase has all analysts work for a time, each with a pause between two pages.
func (b *deskBench) phase(ctx context.Context, name string, people []*benchAnalyst, d, pace time.Duration) error {
	work, stop := context.WithTimeout(ctx, d)
	defer stop()
	var working sync.WaitGroup
	for _, p := range people {
		p.phase = name
		working.Go(func() { p.work(ctx, work, pace) })
	}
	err := b.arrive(work)
	working.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// listen keeps a stream of events open.
func (p *benchAnalyst) listen(ctx context.Context) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.b.address+"/events", nil)
	if err != nil {
		return
	}
	a, err := p.browser.Do(r)
	if err == nil {
		_, _ = io.Copy(io.Discard, a.Body) // until it ends
		_ = a.Body.Close()
	}
}

// ask sends one request, measures it as a page, and returns where it leads to and what
// it says.
func (p *benchAnalyst) ask(ctx context.Context, page, path string, form url.Values) (location, body string) {
	method, what := http.MethodGet, p.phase+" "+page
	if form != nil {
		method = http.MethodPost
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://"+p.b.address+path, strings.NewReader(form.Encode()))
	if err != nil {
		p.errors++
		return "", ""
	}
	r.Header.Set(benchHeader, what)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	began := time.Now()
	var b bytes.Buffer
	a, err := p.browser.Do(r)
	if err == nil {
		_, err = b.ReadFrom(a.Body)
		_ = a.Body.Close()
	}
	if err != nil || a.StatusCode != http.StatusOK && a.StatusCode != http.StatusSeeOther || strings.HasPrefix(a.Header.Get("Location"), "/login") {
		p.errors++
		return "", ""
	}
	p.took[what] = append(p.took[what], int32(min(time.Since(began).Microseconds(), 1<<30)))
	p.bytes[what] = append(p.bytes[what], int32(b.Len()))
	return a.Header.Get("Location"), b.String()
}

var (
	benchRows     = regexp.MustCompile(`href="/alerts/([^"/]+)"`)
	benchMore     = regexp.MustCompile(`rel="next" href="([^"]+)"`)
	benchLater    = regexp.MustCompile(`<a href="([^"]+)" data-later>`)
	benchPrevious = regexp.MustCompile(`name="previous" value="([^"]*)"`)
)

// work loads pages until the work is over; one that was begun is waited for.
func (p *benchAnalyst) work(ctx, over context.Context, pace time.Duration) {
	// They do not all begin at once.
	for pause := time.Duration(p.r.Float64() * float64(pace)); wait(over, pause) == nil && over.Err() == nil; {
		began := time.Now()
		if p.lead {
			p.oversee(ctx)
		} else {
			p.analyse(ctx)
		}
		// The pause is from one page to the next, on average, whatever they take.
		pause = time.Duration(p.r.ExpFloat64()*float64(pace)) - time.Since(began)
	}
}

// oversee loads a page that a lead looks at.
func (p *benchAnalyst) oversee(ctx context.Context) {
	switch x := p.r.IntN(100); {
	case x < 40:
		p.ask(ctx, "supervisor", "/supervisor", nil)
	case x < 50:
		p.ask(ctx, "person", fmt.Sprintf("/supervisor/people/analyst%d", p.r.IntN(p.b.analysts)), nil)
	case x < 70:
		p.ask(ctx, "models", "/models", nil)
	case x < 85:
		p.ask(ctx, "audit", "/audit", nil)
	default:
		p.ask(ctx, "audit filtered", "/audit?"+benchTrails[p.r.IntN(len(benchTrails))], nil)
	}
}

// analyse loads a page that an analyst works with.
func (p *benchAnalyst) analyse(ctx context.Context) {
	switch x := p.r.IntN(100); {
	case x < 2:
		p.ask(ctx, "start", "/", nil)
	case x < 4:
		p.ask(ctx, "second looks", "/second-looks", nil)
	case x < 20:
		_, p.queue = p.ask(ctx, "queue", "/queue", nil)
	case x < 32:
		_, p.queue = p.ask(ctx, "queue filtered", "/queue?"+benchFilters[p.r.IntN(len(benchFilters))], nil)
	case x < 36:
		if more := benchMore.FindStringSubmatch(p.queue); more != nil {
			_, p.queue = p.ask(ctx, "queue page 2", html.UnescapeString(more[1]), nil)
		}
	case x < 60 || p.id == "":
		if rows := benchRows.FindAllStringSubmatch(p.queue, -1); rows != nil {
			p.open(ctx, "/alerts/"+rows[p.r.IntN(len(rows))][1])
		}
	case x < 61:
		p.ask(ctx, "print", "/alerts/"+p.id+"/print", nil)
	case x < 80:
		if to, _ := p.ask(ctx, "next", "/next", url.Values{}); strings.HasPrefix(to, "/alerts/") {
			p.open(ctx, to)
		}
	default:
		p.act(ctx)
	}
}

func (p *benchAnalyst) open(ctx context.Context, path string) {
	_, p.body = p.ask(ctx, "case", path, nil)
	p.id = strings.TrimPrefix(path, "/alerts/")
	p.id, _, _ = strings.Cut(p.id, "?")
	if later := benchLater.FindStringSubmatch(p.body); later != nil { // as the page's script does
		p.ask(ctx, "case history", html.UnescapeString(later[1]), nil)
	}
}

// act does something with the alert before the analyst, and looks at what came of it.
func (p *benchAnalyst) act(ctx context.Context) {
	previous := benchPrevious.FindStringSubmatch(p.body)
	if previous == nil {
		return
	}
	kinds := []string{"closed_genuine", "closed_genuine", "closed_genuine", "closed_fraud", "noted", "claimed", "escalated"}
	to, _ := p.ask(ctx, "act", "/alerts/"+p.id+"/act", url.Values{"kind": {kinds[p.r.IntN(len(kinds))]}, "previous": {html.UnescapeString(previous[1])}, "note": {"called the customer"}})
	if to != "" {
		p.open(ctx, to)
	}
}
