package trace

import (
	"encoding/hex"
	"sync"

	"github.com/weir-risk/weir/schemas"
)

// A Link is the span of another program that sent a transaction, zero for none.
type Link struct {
	Trace [16]byte
	Span  [8]byte
	Flags byte
}

// links are those of transactions that have been fetched and are not yet decided.
type links struct {
	mu sync.Mutex
	of map[place]Link
}

type place struct {
	partition int32
	offset    int64
}

// linksMax is how many are kept. What a lost ownership left is never asked for; once there
// are so many all are forgotten, and some spans lack their link.
const linksMax = 4096

// Sent notes what sent a transaction, where it is sampled and its record says so, by the
// header traceparent of W3C's trace context.
func (t *Tracer) Sent(p *schemas.Place, headers []schemas.Header) {
	if t == nil || len(headers) == 0 || !t.sampled(p) {
		return
	}
	for _, h := range headers {
		if string(h.Key) != "traceparent" {
			continue
		}
		if l, ok := parseTraceparent(h.Value); ok {
			t.links.put(place{p.Partition, p.Offset}, l)
		}
		return
	}
}

// Sender returns what sent a transaction, once.
func (t *Tracer) Sender(p *schemas.Place) Link {
	t.links.mu.Lock()
	defer t.links.mu.Unlock()
	at := place{p.Partition, p.Offset}
	l := t.links.of[at]
	delete(t.links.of, at)
	return l
}

func (l *links) put(at place, one Link) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of == nil || len(l.of) >= linksMax {
		l.of = make(map[place]Link)
	}
	l.of[at] = one
}

// parseTraceparent reads VERSION-TRACE-SPAN-FLAGS, in hexadecimal. A version that is not
// known may have more behind that.
func parseTraceparent(text []byte) (l Link, ok bool) {
	const trace, span, flags, end = 3, 36, 53, 55
	if len(text) < end || text[trace-1] != '-' || text[span-1] != '-' || text[flags-1] != '-' {
		return l, false
	}
	var version, of [1]byte
	for _, part := range []struct {
		dst  []byte
		from int
	}{{version[:], 0}, {l.Trace[:], trace}, {l.Span[:], span}, {of[:], flags}} {
		src := text[part.from : part.from+2*len(part.dst)]
		for _, c := range src {
			if c >= 'A' && c <= 'F' {
				return Link{}, false
			}
		}
		if _, err := hex.Decode(part.dst, src); err != nil {
			return Link{}, false
		}
	}
	l.Flags = of[0]
	switch {
	case version[0] == 0xff, version[0] == 0 && len(text) > end, len(text) > end && text[end] != '-':
		return Link{}, false
	case l.Trace == [16]byte{}, l.Span == [8]byte{}:
		return Link{}, false
	}
	return l, true
}
