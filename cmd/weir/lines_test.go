package main

import (
	"encoding/csv"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// readAll reads all records with a reader of ours.
func readAll(r io.Reader, most int) (records [][]string, numbers []int64, err error) {
	l := newLines(r, most)
	var cells [][]byte
	for {
		cells, err = l.csvRecord(cells)
		if errors.Is(err, io.EOF) {
			return records, numbers, nil
		}
		if err != nil {
			return records, numbers, err
		}
		var record []string
		for _, c := range cells {
			record = append(record, string(c))
		}
		records, numbers = append(records, record), append(numbers, l.number)
	}
}

// FuzzCSV holds our reader to encoding/csv wherever both take a text. Ours keeps
// carriage returns inside quotes, which encoding/csv drops.
func FuzzCSV(f *testing.F) {
	for _, text := range []string{"", "a,b\n1,2\n", "a\r\n\r\nb", "\"a\"\"b\",c\n", "\"a\nb\",c", "a,\n,b\n", "\"\"\n", "\"a", "a\"b", "\"a\"b", ",", "\n\n,"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, _, err := readAll(iotest.OneByteReader(strings.NewReader(text)), 1<<20)
		whole, _, errWhole := readAll(strings.NewReader(text), 1<<20)
		if (err == nil) != (errWhole == nil) || !slices.EqualFunc(got, whole, slices.Equal[[]string]) {
			t.Fatalf("byte by byte %q (%v), whole %q (%v)", got, err, whole, errWhole)
		}
		r := csv.NewReader(strings.NewReader(text))
		r.FieldsPerRecord = -1
		want, errWant := r.ReadAll()
		if strings.ContainsRune(text, '\r') {
			return
		}
		if (err == nil) != (errWant == nil) {
			t.Fatalf("ours: %v, encoding/csv: %v", err, errWant)
		}
		if err == nil && !slices.EqualFunc(got, want, slices.Equal[[]string]) {
			t.Fatalf("got %q, want %q", got, want)
		}
	})
}

func TestLines(t *testing.T) {
	records, numbers, err := readAll(strings.NewReader("a,b\n\n\"c\n\",d\ne,f"), 100)
	if err != nil || len(records) != 3 || !slices.Equal(numbers, []int64{1, 4, 5}) {
		t.Errorf("%q at %v, %v", records, numbers, err)
	}
	// A line that is too long is passed over, and what follows is read.
	l := newLines(iotest.OneByteReader(strings.NewReader("a\n"+strings.Repeat("x", 50)+"\nb\n")), 10)
	for _, want := range []string{"a", "", "b"} {
		line, err := l.next()
		if want == "" && !errors.Is(err, errLong) || want != "" && string(line) != want {
			t.Errorf("%q, %v, want %q", line, err, want)
		}
	}
	if _, err := l.next(); !errors.Is(err, io.EOF) || l.number != 3 {
		t.Errorf("%v at line %d", err, l.number)
	}
}
