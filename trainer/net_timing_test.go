//go:build unix

package trainer

import (
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// week returns rows like those of a week of the Handbook stream: so many columns
// that vary, .9 % frauds that some of them tell.
func week(rows, columns int) *Dataset {
	r := rand.New(rand.NewPCG(7, 7))
	d := NewDataset(make([]string, columns))
	x := make([]float32, columns)
	for i := range rows {
		fraud := r.IntN(1000) < 9
		for c := range x {
			v := r.NormFloat64()
			if fraud && c%4 == 0 {
				v += 1
			}
			if x[c] = float32(math.Exp(v)); c%5 == 0 && r.IntN(4) > 0 {
				x[c] = 0 // as counts are
			}
		}
		d.Add(x, fraud, int64(i), 100)
	}
	return d
}

// exportTo has BenchmarkLearnNetwork write what it learns from for trainer/torch,
// which learns the same.
var exportTo = flag.String("export", "", "folder to write rows, bins and options of BenchmarkLearnNetwork to")

// export writes the rows, the labels and, as JSON, all that a network is made of
// but its numbers.
func export(folder string, d *Dataset, o *NetworkOptions) error {
	type bins struct {
		Mean, Inv, Lo, Hi float32
		Edges             []float32
	}
	meta := struct {
		Rows, Columns int
		Clip, Share   float64
		Options       *NetworkOptions
		Inputs        []bins
	}{d.Rows(), len(d.Names), linearClip, o.share(d.Frauds(), d.Rows()-d.Frauds()), o, nil}
	for _, e := range encoders(d, o.Bins) {
		meta.Inputs = append(meta.Inputs, bins{e.input.Mean, e.input.Inv, e.input.Lo, e.input.Hi, e.edges})
	}
	text, err := json.Marshal(meta)
	if err != nil {
		return err
	}
	var x []byte
	for _, v := range d.X {
		x = binary.LittleEndian.AppendUint32(x, math.Float32bits(v))
	}
	for name, data := range map[string][]byte{"meta.json": text, "x.f32": x, "y.u8": d.Y} {
		if err := os.WriteFile(filepath.Join(folder, name), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// BenchmarkLearnNetwork learns by the default options. Only what processors took
// says something on a machine that is shared.
func BenchmarkLearnNetwork(b *testing.B) {
	for _, rows := range []int{67_000, 1_200_000} {
		b.Run(fmt.Sprintf("rows=%d/columns=53/members=8", rows), func(b *testing.B) {
			d, o := week(rows, 53), DefaultNetwork()
			if *exportTo != "" && rows < 100_000 {
				if err := export(*exportTo, d, &o); err != nil {
					b.Fatal(err)
				}
			}
			from := cpuSeconds()
			for b.Loop() {
				if _, err := LearnNetwork(b.Context(), d, o, nil); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric((cpuSeconds()-from)/float64(b.N), "cpu-s/op")
		})
	}
}

// cpuSeconds is what this process has taken of the processors.
func cpuSeconds() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}
