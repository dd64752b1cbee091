package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

const fraudSpec = `spec small
base EUR
field id = $.id
field time = $.time as rfc3339
field amount = $.amount decimal
field currency = $.currency default "EUR"
field customer = $.who.customer
scored authorisation
home customer dedup 7d
amount
count() by customer over 1d
fraud_count() by customer over 7d
fallback review when amount > 1000
`

const smallCSV = `id,time,amount,who.customer,fraud,currency
1,2026-01-01 00:00:00,10.00,c1,1,
2,2026-01-01 01:00:00,20.50,c1,0,
3,2026-01-01 02:00:00,30,c1,0,USD
3,2026-01-01 02:00:00,30,c1,0,USD
"4 ""x"", y",2026-01-01 03:00:00,40,"c1",,
`

const smallRates = `{"currency":"USD","since":"2020-01-01T00:00:00Z","rate":"0.5"}
`

// TestFeaturesLabels says when a label is seen: after its delay, and right after
// its own transaction where there is none.
func TestFeaturesLabels(t *testing.T) {
	spec, input, rates := file(t, "small.spec", fraudSpec), file(t, "in.csv", smallCSV), file(t, "rates.jsonl", smallRates)
	f := func(want []string, flags ...string) {
		t.Helper()
		got := call(t, append([]string{"features", "--spec", spec, "--input", input, "--rates", rates}, flags...)...).succeeds(t)
		if lines := strings.Split(strings.TrimSpace(got.stdout), "\n"); !slices.Equal(lines[1:], want) {
			t.Errorf("%q: got\n%s", flags, got.stdout)
		}
	}
	f([]string{"1,10,1,0", "2,20.5,2,0", "3,15,3,0", `"4 ""x"", y",40,4,0`})
	f([]string{"1,10,1,0", "2,20.5,2,1", "3,15,3,1", `"4 ""x"", y",40,4,1`}, "--label-column", "fraud")
	f([]string{"1,10,1,0", "2,20.5,2,0", "3,15,3,1", `"4 ""x"", y",40,4,1`}, "--label-column", "fraud", "--label-delay", "2h")
	f([]string{"2,20.5,2,1", "3,15,3,1"}, "--label-column", "fraud", "--from", "2026-01-01 01:00:00", "--to", "2026-01-01T03:00:00Z")

	// A label of a file counts from its known_at on, before transactions of that
	// time; the file need not be in order.
	labels := file(t, "labels.jsonl", `{"tx_id":"1","verdict":"none","source":"chargeback","known_at":"2026-01-01T02:30:00Z","version":2}
{"tx_id":"1","verdict":"fraud","source":"chargeback","known_at":"2026-01-01T01:00:00Z"}
`)
	f([]string{"1,10,1,0", "2,20.5,2,1", "3,15,3,1", `"4 ""x"", y",40,4,0`}, "--labels", labels)
}

// TestFeaturesJSON computes the same from lines of JSON, however compressed.
func TestFeaturesJSON(t *testing.T) {
	const lines = `{"id":"1","time":"2026-01-01T00:00:00Z","amount":"10.00","who":{"customer":"c1"},"truth":{"fraud":1}}

{"id":"2","time":"2026-01-01T01:00:00Z","amount":20.5,"who":{"customer":"c1"},"truth":{"fraud":"0"}}
`
	spec := file(t, "small.spec", fraudSpec)
	const want = "id,amount,count_by_customer_1d,fraud_count_by_customer_7d\n1,10,1,0\n2,20.5,2,1\n"
	f := func(stdin string) {
		t.Helper()
		got := callWith(t, stdin, nil, "features", "--spec", spec, "--label-column", "truth.fraud", "-").succeeds(t)
		if got.stdout != want {
			t.Errorf("got\n%s", got.stdout)
		}
	}
	f(lines)
	f("\ufeff" + strings.ReplaceAll(lines, "\n", "\r\n"))
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(lines))
	_ = z.Close()
	f(b.String())
	b.Reset()
	s, err := zstd.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = s.Write([]byte(lines))
	_ = s.Close()
	f(b.String())
}

// TestFeaturesRefused names the rows that cannot be read, and never shows them.
func TestFeaturesRefused(t *testing.T) {
	spec := file(t, "small.spec", fraudSpec)
	input := file(t, "in.csv", "id,time,amount,who.customer,fraud\n"+
		"1,2026-01-01 00:00:00,10.00,c1,1\n"+
		"2,2026-01-01 00:00:00,ten,c1,1\n"+
		"3,2026-01-01 00:00:00,10.00,4000001234567899\n"+
		"\"4\"x,2026-01-01 00:00:00,10.00,c1,0\n"+
		"5,2026-01-01 00:00:00,10.00,\"c\n1\",0\n"+
		"6,2026-01-01 00:00:00,10.00,c1,2\n"+
		"7,2026-01-01 00:00:00,10.00,c1,\n")
	output := filepath.Join(t.TempDir(), "out.csv.gz")
	args := []string{"features", "--spec", spec, "--label-column", "fraud", "--label-delay", "0s", "--output", output, "--json", input}
	got := call(t, args...).fails(t, exitFailed, "in.csv:3: bad_amount: ", "in.csv:4: bad_schema: ", "in.csv:5: bad_schema: ", "in.csv:8: bad_label: ", "4 of 7 rows were refused: bad_schema 2, bad_amount 1, bad_label 1")
	if strings.Contains(got.stderr, "4000001234567899") {
		t.Errorf("stderr shows what a row holds:\n%s", got.stderr)
	}
	args = append(args, "--skip-bad")
	var r featuresReport
	if err := json.Unmarshal([]byte(call(t, args...).succeeds(t).stdout), &r); err != nil {
		t.Fatal(err)
	}
	if r.Rows != 7 || r.Written != 3 || r.Refused["bad_schema"] != 2 || r.Features != 3 {
		t.Errorf("%+v", r)
	}
	f, err := os.Open(output)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if want := "id,amount,count_by_customer_1d,fraud_count_by_customer_7d\n1,10,1,0\n5,10,1,0\n7,10,2,1\n"; err != nil || string(text) != want {
		t.Errorf("%v, got\n%s", err, text)
	}
}

func TestFeaturesFailure(t *testing.T) {
	spec, input := file(t, "small.spec", fraudSpec), file(t, "in.csv", smallCSV)
	call(t, "features", "--spec", spec).fails(t, exitUsage, "--input")
	call(t, "features", "--spec", spec, "--json", input).fails(t, exitUsage, "--output")
	call(t, "features", "--spec", spec, "--from", "yesterday", input).fails(t, exitUsage, "yesterday")
	call(t, "features", "--spec", spec, "--label-delay", "7 days", input).fails(t, exitUsage, "7 days")
	call(t, "features", "--spec", spec, "--label-column", "amount", input).fails(t, exitUsage, "amount")
	call(t, "features", "--spec", spec, "--label-column", "who", input).fails(t, exitUsage, "who.customer")
	call(t, "features", "--spec", spec, "--label-delay", "7d", input).fails(t, exitUsage, "--label-column")
	call(t, "features", "--spec", spec, "--label-column", "x", "--labels", input, input).fails(t, exitUsage, "give one")
	call(t, "features", "--spec", spec, "--label-column", "x", input).fails(t, exitFailed, `no column "x"`, "who.customer")
	call(t, "features", "--spec", spec, input+"x").fails(t, exitFailed, "in.csvx")
	call(t, "features", "--spec", "nothing", input).fails(t, exitFailed, "handbook")
	call(t, "features", "--spec", spec, file(t, "x.csv", "id,time\n1,2\n")).fails(t, exitFailed, `no column "amount"`)
	call(t, "features", "--spec", spec, "--labels", file(t, "l.jsonl", "\n{}\n"), input).fails(t, exitFailed, "l.jsonl:2: ", "tx_id")
	call(t, "features", "--spec", spec, "--rates", file(t, "r.jsonl", "{}\n"), input).fails(t, exitFailed, "r.jsonl:1: ", "currency")
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(strings.Repeat(smallCSV, 100)))
	_ = z.Close()
	call(t, "features", "--spec", spec, file(t, "cut.csv.gz", b.String()[:b.Len()-9])).fails(t, exitFailed, "cut.csv.gz", "unexpected EOF")
}

// TestFeaturesStops ends where the context does, also while it waits for stdin.
func TestFeaturesStops(t *testing.T) {
	spec := file(t, "small.spec", fraudSpec)
	for _, begin := range []string{"", smallCSV} {
		r, w := io.Pipe()
		defer w.Close()
		ctx, stop := context.WithCancel(t.Context())
		go func() { // ends when the pipe is closed at the latest
			_, _ = io.WriteString(w, begin)
			stop()
		}()
		var stderr bytes.Buffer
		e := &env{stdin: r, stdout: io.Discard, stderr: &stderr, lookup: func(string) (string, bool) { return "", false }}
		if code := run(ctx, []string{"features", "--spec", spec, "-"}, e); code != exitFailed || !strings.Contains(stderr.String(), "stdin") {
			t.Errorf("%q: exit code %d\n%s", begin, code, &stderr)
		}
	}
}

// handbookFile returns a file of the Handbook stream. Where there is none the
// test is skipped, and a proof fails.
func handbookFile(t *testing.T, name string) string {
	t.Helper()
	folder := os.Getenv("WEIR_HANDBOOK")
	if folder == "" {
		folder = filepath.Join("..", "..", "..", "shared", "data", "handbook")
	}
	path := filepath.Join(folder, name)
	if _, err := os.Stat(path); err != nil {
		missing := t.Skipf
		if os.Getenv("WEIR_PROVE") != "" {
			missing = t.Fatalf
		}
		missing("the Handbook stream is not there (WEIR_HANDBOOK names its folder): %v", err)
	}
	return path
}

// table reads a CSV file of numbers into rows by their first column.
func table(t *testing.T, name string) (header []string, rows map[string][]float64) {
	t.Helper()
	in, err := openInput(t.Context(), &env{}, name)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	r := csv.NewReader(in)
	r.ReuseRecord = true
	rows = make(map[string][]float64)
	for {
		cells, err := r.Read()
		if errors.Is(err, io.EOF) {
			return header, rows
		}
		if err != nil {
			t.Fatal(err)
		}
		if header == nil {
			header = slices.Clone(cells)
			continue
		}
		row := make([]float64, len(cells))
		for k, text := range cells {
			if row[k], err = strconv.ParseFloat(text, 64); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		rows[cells[0]] = row
	}
}

// TestFeaturesAreTheBooks compares what the command writes for two weeks of the
// Handbook stream with the features that the book's authors computed.
func TestFeaturesAreTheBooks(t *testing.T) {
	input, books := handbookFile(t, "transactions.csv.gz"), handbookFile(t, "golden_features_2018-06-11_2018-06-24.csv.gz")
	output := filepath.Join(t.TempDir(), "features.csv")
	call(t, "features", "--spec", "handbook", "--input", input, "--output", output, "--from", "2018-06-11", "--to", "2018-06-25T00:00:22Z").succeeds(t)
	header, got := table(t, output)
	names, want := table(t, books)
	if len(got) != 134_216 || len(want) != len(got) || len(header) != 16 {
		t.Fatalf("%d rows of %d columns, the book has %d rows", len(got), len(header), len(want))
	}
	wrong := 0
	for id, row := range got {
		for k, x := range row {
			if w := want[id][slices.Index(names, header[k])]; !(math.Abs(x-w) <= 1e-4*math.Abs(w)+1e-9) {
				if wrong++; wrong < 10 {
					t.Errorf("transaction %s, %s: got %v, want %v", id, header[k], x, w)
				}
			}
		}
	}
	if wrong > 0 {
		t.Errorf("%d values differ", wrong)
	}
}

func TestAppendNumber(t *testing.T) {
	f := func(x float32, want string) {
		t.Helper()
		got := string(appendNumber(nil, x))
		if got != want {
			t.Errorf("%v: got %q, want %q", x, got, want)
		}
		if y, err := strconv.ParseFloat(got, 32); want != "" && (err != nil || math.Float32bits(float32(y)) != math.Float32bits(x)) {
			t.Errorf("%q reads as %v (%v)", got, y, err)
		}
	}
	f(0, "0")
	f(float32(math.Copysign(0, -1)), "-0")
	f(1, "1")
	f(-12345, "-12345")
	f(57.16, "57.16")
	f(16777216, "16777216")
	f(1e-7, "1e-07")
	f(3e20, "3e+20")
	f(float32(math.Inf(-1)), "-Inf")
	f(float32(math.NaN()), "")
}
