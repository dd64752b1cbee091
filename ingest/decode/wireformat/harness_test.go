package wireformat

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/schemas"
)

// registry is a fake one, with a schema under the id 1 and, in its log, what a
// Schemas of it says.
type registry struct {
	*srfake.Registry
	schemas *Schemas
	clock   time.Time
	log     bytes.Buffer
}

func newRegistry(t testing.TB, f Format, schema string, refs ...sr.SchemaReference) *registry {
	t.Helper()
	r := &registry{Registry: srfake.New(), clock: time.Unix(1e9, 0)}
	t.Cleanup(r.Close)
	var err error
	r.schemas, err = NewSchemas(Options{URLs: []string{r.URL()}, Format: f, Now: func() time.Time { return r.clock }, Log: slog.New(slog.NewTextHandler(&r.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	r.seed("main", 1, schema, refs...)
	return r
}

// seed gives an id to a schema, the first version of its subject.
func (r *registry) seed(subject string, id int, schema string, refs ...sr.SchemaReference) {
	r.SeedSchema(subject, 1, id, sr.Schema{Schema: schema, Type: r.schemas.kind(), References: refs})
}

// whole returns a reader that writes everything.
func (r *registry) whole(t testing.TB) *Reader {
	t.Helper()
	s, ok := spec.Builtin("payments")
	if !ok {
		t.Fatal("no spec")
	}
	reader := NewReader(r.schemas, s)
	reader.want, reader.bytesMax = everything, 1<<20
	return reader
}

// framed is a value in the wire format, as another implementation frames it.
func framed(id int, index []int, value []byte) []byte {
	var h sr.ConfluentHeader
	b, _ := h.AppendEncode(nil, id, index)
	return append(b, value...)
}

// json reads a record that must be taken, and sees that it is JSON.
func (r *Reader) must(t testing.TB, value []byte) string {
	t.Helper()
	text, reason, err := r.JSON(t.Context(), value)
	if reason != schemas.NoReason || err != nil {
		t.Fatalf("%x: %v %v, got %s", value, reason, err, text)
	}
	if !json.Valid(text) {
		t.Fatalf("no JSON: %s", text)
	}
	return string(text)
}

// refuses sees that a record is refused.
func (r *Reader) refuses(t testing.TB, name string, value []byte, want schemas.Reason) {
	t.Helper()
	text, reason, err := r.JSON(t.Context(), value)
	if reason != want || err != nil {
		t.Errorf("%s: %v %v, want %v; got %s", name, reason, err, want, text)
	}
}

// tree parses JSON, its numbers as they are written.
func tree(t testing.TB, text string) (v any) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return v
}
