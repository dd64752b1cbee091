package features

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/schemas"
)

const day = 24 * 60 * 60 * 1000

func handbookFolder() string {
	if f := os.Getenv("WEIR_HANDBOOK"); f != "" {
		return f
	}
	return filepath.Join("..", "..", "shared", "data", "handbook")
}

// eachLine calls do with the fields of each line but the first, until it
// returns false. Where there is no such file the test is skipped, and a proof fails.
func eachLine(t testing.TB, name string, do func(fields [][]byte) bool) {
	f, err := os.Open(filepath.Join(handbookFolder(), name))
	if err != nil {
		missing := t.Skipf
		if os.Getenv("WEIR_PROVE") != "" {
			missing = t.Fatalf
		}
		missing("the Handbook stream is not there (WEIR_HANDBOOK names its folder): %v", err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(z)
	lines.Scan()
	for lines.Scan() {
		if !do(bytes.Split(lines.Bytes(), []byte(","))) {
			break
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
}

func integer(t testing.TB, b []byte) int64 {
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// handbookLabel is what becomes known of a transaction after seven days.
type handbookLabel struct {
	time  int64
	id    string
	fraud bool
}

// handbook steps the stream up to the transaction last through an engine and
// calls see with each batch.
func handbook(t testing.TB, e *Engine, last int64, see func(b *schemas.Batch, x []float32)) {
	const epoch = 1522540800000 // 2018-04-01
	var b schemas.Batch
	b.Reset(0, 0)
	x := make([]float32, 256*e.Width())
	step := func() {
		e.Step(&b, x[:b.Len()*e.Width()], nil)
		see(&b, x)
		b.Reset(0, 0)
	}
	var labels []handbookLabel
	eachLine(t, "transactions.csv.gz", func(f [][]byte) bool {
		id, now := integer(t, f[0]), epoch+integer(t, f[5])*1000
		if id > last {
			step()
			return false
		}
		if due := len(labels) > 0 && labels[0].time <= now; due || b.Len() == 256 {
			step()
		}
		for len(labels) > 0 && labels[0].time <= now {
			l := schemas.Label{TxID: []byte(labels[0].id), Verdict: schemas.LabelGenuine, Version: 1}
			if labels[0].fraud {
				l.Verdict = schemas.LabelFraud
			}
			if e.Label(&l) != Applied {
				t.Fatalf("label of %s was not applied", labels[0].id)
			}
			labels = labels[1:]
		}
		i := b.Add(schemas.Place{})
		amount := int64(math.Round(100 * number64(t, f[4])))
		b.Tx[i] = schemas.Transaction{Time: now, Amount: amount, AmountBase: amount}
		b.SetBytes(i, schemas.ID, f[0])
		b.SetBytes(i, schemas.Customer, f[2])
		b.SetBytes(i, schemas.Terminal, f[3])
		labels = append(labels, handbookLabel{now + 7*day, string(f[0]), f[7][0] == '1'})
		return true
	})
}

func number64(t testing.TB, b []byte) float64 {
	v, err := strconv.ParseFloat(string(b), 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestHandbookFeaturesAreTheBooks compares two weeks of the Handbook stream
// with the features that the book's authors computed.
func TestHandbookFeaturesAreTheBooks(t *testing.T) {
	const first, last = 680886, 815101
	s, ok := spec.Builtin("handbook")
	if !ok {
		t.Fatal("no spec of the name handbook")
	}
	e := New(s, Options{})
	golden := make(map[string][]float64, last-first+1)
	eachLine(t, "golden_features_2018-06-11_2018-06-24.csv.gz", func(f [][]byte) bool {
		row := make([]float64, 0, 15)
		for _, c := range append(f[4:5:5], f[6:]...) {
			row = append(row, number64(t, c))
		}
		golden[string(f[0])] = row
		return true
	})
	seen, wrong := 0, 0
	handbook(t, e, last, func(b *schemas.Batch, x []float32) {
		for i := range b.Len() {
			want, ok := golden[string(b.Bytes(i, schemas.ID))]
			if !ok {
				continue
			}
			seen++
			for f, w := range want {
				if got := float64(x[i*15+f]); !(math.Abs(got-w) <= 1e-4*math.Abs(w)+1e-9) {
					if wrong++; wrong < 10 {
						t.Errorf("transaction %s, feature %d: got %v, want %v", b.Bytes(i, schemas.ID), f, got, w)
					}
				}
			}
		}
	})
	if seen != 134216 || wrong > 0 {
		t.Errorf("%d rows compared, %d values differ", seen, wrong)
	}
}
