package main

import (
	"strings"
	"testing"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/decode"
	"github.com/weir-risk/weir/schemas"
)

// TestRecordsDoNotAllocate reads rows of both forms without allocation.
func TestRecordsDoNotAllocate(t *testing.T) {
	s, err := spec.Parse("small", []byte(fraudSpec))
	if err != nil {
		t.Fatal(err)
	}
	f := func(name, head, row string) {
		t.Helper()
		const rows = 4000
		e := &env{stdin: strings.NewReader(head + strings.Repeat(row, rows))}
		in, err := openRecords(t.Context(), e, "-", s, decode.New(s, decode.Options{}), "", &refused{env: e})
		if err != nil {
			t.Fatal(err)
		}
		defer in.close()
		var b schemas.Batch
		next := func() {
			if b.Len() == 0 || b.Len() == batchRows {
				b.Reset(0, 0)
			}
			if err := in.next(&b); err != nil || b.Verdict[b.Len()-1].Outcome != schemas.Scored {
				t.Fatalf("%s: %v, %v", name, err, b.Verdict[b.Len()-1])
			}
		}
		for range 2 * batchRows {
			next()
		}
		if n := testing.AllocsPerRun(rows/2, next); n >= 0.01 {
			t.Errorf("%s: %v allocations a row", name, n)
		}
	}
	f("CSV", "id,time,amount,who.customer,other\n", "\"t \"\"1\"\"\",2026-01-01 00:00:00,12.34,c1,\"x,y\"\n")
	f("JSON", "", `{"id":"t1","time":"2026-01-01T00:00:00Z","amount":"12.34","who":{"customer":"c1"}}`+"\n")
}
