package features

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/schemas"
)

var updateGolden = flag.Bool("update", false, "write testdata/golden.txt anew")

// goldenBatches is how many batches of goldenRows a golden stream has.
const (
	goldenBatches = 40
	goldenRows    = 128
)

// goldenBatch makes rows from integers alone, so that every processor makes the
// same ones: late, repeated and reversed payments among them, amounts from
// nothing to beyond what a float64 holds exactly.
func goldenBatch(r *rand.Rand, s *spec.Spec, b *schemas.Batch, now *int64) {
	b.Reset(len(s.Input.OwnText), len(s.Input.OwnNumber))
	for i := range goldenRows {
		b.Add(schemas.Place{})
		*now += int64(r.IntN(3)) * int64(r.IntN(4_000_000))
		amount := int64(r.Uint64N(1 << (1 + r.IntN(57))))
		b.Tx[i] = schemas.Transaction{Time: *now, Amount: amount, AmountBase: amount, Status: schemas.Status(r.IntN(3))}
		if r.IntN(6) == 0 {
			b.Tx[i].Type = schemas.TxType(r.IntN(int(schemas.NumTxTypes)))
		}
		id := r.IntN(1 << 30)
		switch r.IntN(12) {
		case 0:
			b.Tx[i].Time -= int64(r.IntN(90_000_000))
		case 1:
			id = r.IntN(200)
		}
		b.SetBytes(i, schemas.ID, fmt.Append(nil, id))
		b.SetBytes(i, schemas.OriginalID, fmt.Append(nil, r.IntN(200)))
		for f := schemas.Currency; int(f) < b.TextWidth; f++ {
			if r.IntN(16) > 0 {
				b.SetBytes(i, f, fmt.Append(nil, "v", r.IntN(7)))
			}
		}
		for n := range b.NumberWidth {
			b.Number[i*b.NumberWidth+n] = float64(r.IntN(1<<40)-1<<39) / 4096
		}
	}
}

// goldenHash is the SHA-256 of all verdicts, vectors and actions of a stream,
// and that of the state it leaves.
func goldenHash(s *spec.Spec) (vectors, state string) {
	r := rand.New(rand.NewPCG(20, 26))
	e := New(s, testOptions)
	h := sha256.New()
	var b schemas.Batch
	now := int64(1_700_000_000_000)
	x, actions := make([]float32, goldenRows*e.Width()), make([]schemas.Action, goldenRows)
	for range goldenBatches {
		goldenBatch(r, s, &b, &now)
		for i := range x {
			x[i] = -1
		}
		e.Step(&b, x, actions)
		for i := range b.Len() {
			v := b.Verdict[i]
			h.Write([]byte{byte(v.Outcome), byte(v.Reason), byte(v.Flags), byte(actions[i])})
		}
		for _, v := range x {
			h.Write(binary.LittleEndian.AppendUint32(nil, math.Float32bits(v)))
		}
		for range 10 {
			l := schemas.Label{TxID: fmt.Append(nil, r.IntN(200)), Verdict: schemas.LabelVerdict(r.IntN(3)),
				Source: schemas.LabelSource(r.IntN(5)), Version: 1 + r.Uint32N(9), KnownAt: now}
			h.Write([]byte{byte(e.Label(&l))})
		}
	}
	sum := sha256.Sum256(e.state())
	return hex.EncodeToString(h.Sum(nil)), hex.EncodeToString(sum[:])
}

// TestGoldenBits holds the engine to the bits that it gave when the file was
// made, on this processor or another (deploy/qemu/arm64).
func TestGoldenBits(t *testing.T) {
	if testing.Short() {
		t.Skip("it is of one goroutine, in which there are no races")
	}
	var got strings.Builder
	add := func(name string, s *spec.Spec) {
		vectors, state := goldenHash(s)
		fmt.Fprintf(&got, "%s vectors %s\n%s state %s\n", name, vectors, name, state)
	}
	for _, name := range []string{"handbook", "payments"} {
		s, ok := spec.Builtin(name)
		if !ok {
			t.Fatalf("no spec %s", name)
		}
		add(name, s)
	}
	add("everything", everything(2_000_000_000))
	const file = "testdata/golden.txt"
	if *updateGolden {
		if err := os.WriteFile(file, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	differ := 0
	for i, line := range strings.SplitAfter(got.String(), "\n") {
		lines := strings.SplitAfter(string(want), "\n")
		if i >= len(lines) || lines[i] != line {
			t.Errorf("got %s", line)
			differ++
		}
	}
	t.Logf("%d differences", differ)
}
