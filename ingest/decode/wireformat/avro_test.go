package wireformat

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/avro"

	"github.com/weir-risk/weir/schemas"
)

// avroGen makes random schemas, and values of them as the library takes them.
type avroGen struct {
	*rand.Rand
	names int
	open  []string // records that are being made, which may be referred to
}

// value makes a value of a schema that it made.
type value func(depth int) any

func (g *avroGen) name(kind string) string {
	g.names++
	return fmt.Sprintf("%s%d", kind, g.names)
}

// text makes texts with what JSON has to escape.
func (g *avroGen) text() string {
	runes := []rune("ab\"\\/\x00\x1f\n\u007fé\u2028\ufffd😀 ")
	var b strings.Builder
	for range g.IntN(12) {
		b.WriteRune(runes[g.IntN(len(runes))])
	}
	return b.String()
}

func (g *avroGen) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(g.Uint32())
	}
	return b
}

func (g *avroGen) long() int64 { return g.Int64() >> g.IntN(64) * int64(1-2*g.IntN(2)) }

// schema makes a schema.
func (g *avroGen) schema(depth int) (string, value) {
	kinds := 20
	if depth == 0 {
		kinds = 16
	}
	switch k := g.IntN(kinds); k {
	case 16:
		return g.record(depth)
	case 17:
		s, v := g.schema(depth - 1)
		return `{"type":"array","items":` + s + `}`, func(depth int) any {
			list := []any{}
			for range g.IntN(4) {
				list = append(list, v(depth-1))
			}
			return list
		}
	case 18:
		s, v := g.schema(depth - 1)
		return `{"type":"map","values":` + s + `}`, func(depth int) any {
			m := map[string]any{}
			for range g.IntN(4) {
				m[g.text()] = v(depth - 1)
			}
			return m
		}
	case 19:
		if len(g.open) > 0 && g.IntN(2) == 0 { // recursion, which null ends
			return `["null","` + g.open[g.IntN(len(g.open))] + `"]`, func(int) any { return nil }
		}
		s, v := g.scalar(g.IntN(16))
		for s == `"null"` {
			s, v = g.scalar(g.IntN(16))
		}
		return `["null",` + s + `]`, func(depth int) any {
			if g.IntN(3) == 0 {
				return nil
			}
			return v(depth)
		}
	default:
		return g.scalar(k)
	}
}

func (g *avroGen) scalar(k int) (string, value) {
	logical := func(base, name string, v func() any) (string, value) {
		return fmt.Sprintf(`{"type":%q,"logicalType":%q}`, base, name), func(int) any { return v() }
	}
	instant := func(unit int64) func() any {
		return func() any {
			return time.Unix(0, 0).UTC().Add(time.Duration(g.Int64N(4e18)) - 2e18).Truncate(time.Duration(unit))
		}
	}
	switch k {
	case 0:
		return `"null"`, func(int) any { return nil }
	case 1:
		return `"boolean"`, func(int) any { return g.IntN(2) == 0 }
	case 2:
		return `"int"`, func(int) any { return int32(g.long()) }
	case 3:
		return `"long"`, func(int) any { return g.long() }
	case 4:
		return `"float"`, func(int) any { return math.Float32frombits(g.Uint32()) }
	case 5:
		return `"double"`, func(int) any { return []float64{math.Float64frombits(g.Uint64()), 12.34, math.Inf(1), 0}[g.IntN(4)] }
	case 6:
		return `"bytes"`, func(int) any { return g.bytes(g.IntN(9)) }
	case 7:
		return `"string"`, func(int) any { return g.text() }
	case 8:
		n := 1 + g.IntN(9)
		return fmt.Sprintf(`{"type":"fixed","name":%q,"size":%d}`, g.name("F"), n), func(int) any { return g.bytes(n) }
	case 9:
		return fmt.Sprintf(`{"type":"enum","name":%q,"symbols":["one","two","three"]}`, g.name("E")), func(int) any { return []string{"one", "two", "three"}[g.IntN(3)] }
	case 10:
		scale := g.IntN(6)
		return fmt.Sprintf(`{"type":"bytes","logicalType":"decimal","precision":58,"scale":%d}`, scale), func(int) any { return g.rat(192, scale) }
	case 11:
		scale := g.IntN(4)
		return fmt.Sprintf(`{"type":"fixed","name":%q,"size":9,"logicalType":"decimal","precision":20,"scale":%d}`, g.name("D"), scale), func(int) any { return g.rat(66, scale) }
	case 12:
		return logical("int", "date", func() any { return time.Unix(int64(g.IntN(60_000)-20_000)*86400, 0).UTC() })
	case 13:
		return logical("long", []string{"timestamp-millis", "local-timestamp-millis"}[g.IntN(2)], instant(1e6))
	case 14:
		return logical("long", []string{"timestamp-micros", "local-timestamp-micros"}[g.IntN(2)], instant(1e3))
	}
	if g.IntN(2) == 0 {
		return logical("long", "time-micros", func() any { return time.Duration(g.Int64N(86400e6)) * time.Microsecond })
	}
	return logical("int", "time-millis", func() any { return time.Duration(g.Int64N(86400e3)) * time.Millisecond })
}

// rat is a decimal of at most so many bits.
func (g *avroGen) rat(bits, scale int) any {
	x := new(big.Int).SetBytes(g.bytes(bits / 8))
	x.Rsh(x, uint(g.IntN(bits))).Mul(x, big.NewInt(int64(1-2*g.IntN(2))))
	return new(big.Rat).SetFrac(x, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil))
}

func (g *avroGen) record(depth int) (string, value) {
	name := g.name("R")
	space := ""
	full := name
	if g.IntN(3) == 0 {
		full = "org.bank." + name
		space = `,"namespace":"org.bank"`
	}
	g.open = append(g.open, full)
	var b strings.Builder
	fmt.Fprintf(&b, `{"type":"record","name":%q%s,"fields":[`, name, space)
	values := make(map[string]value)
	for i := range 1 + g.IntN(5) {
		s, v := g.schema(depth - 1)
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"name":"f%d","type":%s}`, i, s)
		values[fmt.Sprintf("f%d", i)] = v
	}
	g.open = g.open[:len(g.open)-1]
	return b.String() + "]}", func(depth int) any {
		m := make(map[string]any)
		for f, v := range values {
			m[f] = v(depth - 1)
		}
		return m
	}
}

// sameAvro says where JSON differs from what the library decodes; empty is nowhere.
func sameAvro(at string, got, want any) string {
	differs := fmt.Sprintf("%s: %#v, want %#v", at, got, want)
	is := func(same bool) string {
		if same {
			return ""
		}
		return differs
	}
	text, _ := got.(string)
	number, _ := got.(json.Number)
	switch w := want.(type) {
	case nil, bool:
		return is(got == want)
	case int32, int64:
		return is(string(number) == fmt.Sprint(w))
	case float32:
		return is(sameFloat(got, float64(w), 32))
	case float64:
		return is(sameFloat(got, w, 64))
	case string:
		return is(got == w)
	case []byte:
		return is(text == latin1(w))
	case *big.Rat:
		r, ok := new(big.Rat).SetString(string(number))
		return is(ok && r.Cmp(w) == 0)
	case time.Time:
		layout := time.RFC3339Nano
		if len(text) == len(time.DateOnly) {
			layout = time.DateOnly
		}
		x, err := time.Parse(layout, text)
		return is(err == nil && x.Equal(w))
	case time.Duration:
		x, err := time.Parse("15:04:05", text)
		return is(err == nil && x.Equal(time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC).Add(w)))
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) != len(w) {
			return differs
		}
		for i := range w {
			if d := sameAvro(fmt.Sprintf("%s[%d]", at, i), list[i], w[i]); d != "" {
				return d
			}
		}
		return ""
	case map[string]any:
		m, ok := got.(map[string]any)
		if !ok || len(m) != len(w) {
			return differs
		}
		for k := range w {
			if d := sameAvro(at+"."+k, m[k], w[k]); d != "" {
				return d
			}
		}
		return ""
	}
	return differs
}

func latin1(b []byte) string {
	runes := make([]rune, len(b))
	for i, c := range b {
		runes[i] = rune(c)
	}
	return string(runes)
}

func sameFloat(got any, want float64, size int) bool {
	s := fmt.Sprint(got)
	if math.IsNaN(want) {
		return got == "NaN"
	}
	if math.IsInf(want, 0) {
		return got == strings.TrimPrefix(fmt.Sprintf("%+f", want), "+")+"inity"
	}
	x, err := strconv.ParseFloat(s, size)
	return err == nil && x == want && math.Signbit(x) == math.Signbit(want)
}

// TestAvroEqualsLibrary encodes random values of random schemas by another
// implementation; the JSON holds what that one decodes. Every record cut short is
// refused, and so is one with a byte too many.
func TestAvroEqualsLibrary(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	g := &avroGen{Rand: rand.New(rand.NewPCG(seed, 0))}
	r := newRegistry(t, Avro, `"string"`)
	records, sizes := 0, 0
	for id := 2; id < 300; id++ {
		g.names = 0
		text, v := g.record(4)
		r.seed(fmt.Sprint(id), id, text)
		lib, err := avro.Parse(text)
		if err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		reader := r.whole(t)
		for range 10 {
			in := v(10)
			data, err := lib.Encode(in)
			if err != nil {
				t.Fatalf("%v: %s: %v", err, text, in)
			}
			var want any
			if _, err := lib.Decode(data, &want); err != nil {
				t.Fatal(err)
			}
			if d := sameAvro("$", tree(t, reader.must(t, framed(id, nil, data))), want); d != "" {
				t.Fatalf("%s\n%s\n%x", d, text, data)
			}
			records++
			sizes += len(data)
			if len(data) > 0 {
				short := framed(id, nil, data[:g.IntN(len(data))])
				if _, reason, _ := reader.JSON(t.Context(), short); reason != schemas.WireTruncated && reason != schemas.TrailingBytes {
					t.Fatalf("cut short: %v\n%s\n%x of %x", reason, text, short, data)
				}
			}
			reader.refuses(t, "a byte too many", framed(id, nil, append(data, 0)), schemas.TrailingBytes)
		}
	}
	t.Logf("%d records, %d bytes in the mean", records, sizes/records)
}

// TestAvroValues gives what values become, whose text is known.
func TestAvroValues(t *testing.T) {
	f := func(name, schema string, data []byte, want string) {
		t.Helper()
		r := newRegistry(t, Avro, schema)
		if got := r.whole(t).must(t, framed(1, nil, data)); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	logical := func(base, name string) string { return fmt.Sprintf(`{"type":%q,"logicalType":%q}`, base, name) }
	decimal := func(scale int) string {
		return fmt.Sprintf(`{"type":"bytes","logicalType":"decimal","precision":40,"scale":%d}`, scale)
	}
	f("amount", decimal(2), []byte{4, 0x04, 0xe2}, "1250e-2")
	f("negative amount", decimal(2), []byte{4, 0xfb, 0x1e}, "-1250e-2")
	f("whole", decimal(0), []byte{2, 0xff}, "-1")
	f("no bytes", decimal(3), []byte{0}, "0e-3")
	f("20 digits", decimal(0), []byte{18, 0, 0x8a, 0xc7, 0x23, 0x04, 0x89, 0xe8, 0, 0}, "10000000000000000000")
	f("least of 64 bits", decimal(0), []byte{16, 0x80, 0, 0, 0, 0, 0, 0, 0}, "-9223372036854775808")
	f("millis", logical("long", "timestamp-millis"), binary.AppendVarint(nil, 1767323045650), `"2026-01-02T03:04:05.65Z"`)
	f("before 1970", logical("long", "timestamp-millis"), []byte{1}, `"1969-12-31T23:59:59.999Z"`)
	f("date", logical("int", "date"), binary.AppendVarint(nil, 20455), `"2026-01-02"`)
	f("uuid", `{"type":"fixed","name":"U","size":16,"logicalType":"uuid"}`, []byte("\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff"), `"00112233-4455-6677-8899-aabbccddeeff"`)
	f("blocks with sizes", `{"type":"array","items":"int"}`, []byte{3, 4, 2, 4, 2, 6, 0}, "[1,2,3]")
	f("an unknown logical type", logical("int", "furlong"), []byte{2}, "1")
	f("names of namespaces", `{"type":"record","name":"a.b.R","fields":[{"name":"x","type":{"type":"enum","name":"E","symbols":["s"]}},{"name":"y","type":"E"},{"name":"z","type":"a.b.E"}]}`,
		[]byte{0, 0, 0}, `{"x":"s","y":"s","z":"s"}`)
}

// TestAvroRefuses gives bytes that no value has.
func TestAvroRefuses(t *testing.T) {
	f := func(name, schema string, data []byte, want schemas.Reason) {
		t.Helper()
		newRegistry(t, Avro, schema).whole(t).refuses(t, name, framed(1, nil, data), want)
	}
	bytes10 := bytes.Repeat([]byte{0xff}, 10)
	f("boolean of 2", `"boolean"`, []byte{2}, schemas.WireValue)
	f("int beyond 32 bits", `"int"`, []byte{0x80, 0x80, 0x80, 0x80, 0x20}, schemas.WireValue)
	f("integer beyond 64 bits", `"long"`, append(bytes10, 1), schemas.WireValue)
	f("integer cut short", `"long"`, bytes10[:9], schemas.WireTruncated)
	f("length below zero", `"bytes"`, []byte{1}, schemas.WireValue)
	f("length beyond the end", `"string"`, []byte{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, schemas.WireTruncated)
	f("branch beyond the union", `["null","int"]`, []byte{4, 0}, schemas.WireValue)
	f("branch below zero", `["null","int"]`, []byte{1}, schemas.WireValue)
	f("symbol beyond the enum", `{"type":"enum","name":"E","symbols":["a"]}`, []byte{2}, schemas.WireValue)
	f("broken UTF-8", `"string"`, []byte{2, 0xff}, schemas.BadUTF8)
	f("broken UTF-8 in a key", `{"type":"map","values":"int"}`, []byte{2, 2, 0xff, 0, 0}, schemas.BadUTF8)
	f("a year of five digits", `{"type":"long","logicalType":"timestamp-millis"}`, []byte{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, schemas.AbsurdTime)
	f("a date of a year below 1", `{"type":"int","logicalType":"date"}`, []byte{0xff, 0xff, 0xff, 0xff, 0x0f}, schemas.AbsurdTime)
	f("a day of 25 hours", `{"type":"int","logicalType":"time-millis"}`, []byte{0x80, 0x95, 0xf5, 0x55}, schemas.WireValue)
	f("a decimal of 65 bytes", `{"type":"bytes","logicalType":"decimal","precision":2}`, append([]byte{0x82, 1}, make([]byte, 65)...), schemas.WireValue)
	f("more nulls than a record has bytes", `{"type":"array","items":"null"}`, []byte{0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, schemas.Oversize)
	f("the least count", `{"type":"array","items":"null"}`, append(bytes10[:9:9], 1), schemas.WireTruncated)
	f("the least count, and a size", `{"type":"array","items":"null"}`, append(bytes10[:9:9], 1, 0), schemas.WireValue)
	f("a record within itself", `{"type":"record","name":"R","fields":[{"name":"r","type":"R"},{"name":"s","type":"R"}]}`, nil, schemas.TooDeep)
	f("too deep", `{"type":"record","name":"R","fields":[{"name":"r","type":["null","R"]}]}`, append(bytes.Repeat([]byte{2}, 16), 0), schemas.TooDeep)
	f("as deep as may be", `{"type":"record","name":"R","fields":[{"name":"r","type":["null","R"]}]}`, append(bytes.Repeat([]byte{2}, 15), 0), schemas.NoReason)
}
