// Package decodetest reads the malformed records in ingest/decode/testdata, for
// tests of the decoder and of whatever stands behind it: a file goes in, cases
// come out. It decodes nothing.
package decodetest

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/weir-risk/weir/schemas"
)

// Case is a malformed record and why it must be refused.
type Case struct {
	Check  string // names the check that stops it; no other case has it
	Reason schemas.Reason
	Value  []byte // nil where the record has no value
}

// Read reads a file of malformed records; its head says how they are written. An
// error names the line.
func Read(path string) ([]Case, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read malformed records: %w", err)
	}
	var cases []Case
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		c, err := parse(line)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, n, err)
		}
		cases = append(cases, c)
	}
	return cases, lines.Err()
}

func parse(line string) (c Case, err error) {
	words := append(strings.SplitN(line, " ", 4), "", "", "")
	c.Check = words[0]
	var ok bool
	if c.Reason, ok = schemas.ParseReason(words[1]); !ok {
		return c, fmt.Errorf("no reason %q", words[1])
	}
	value := words[3]
	switch words[2] {
	case "raw":
		c.Value = []byte(value)
	case "go":
		if value, err = strconv.Unquote(value); err != nil {
			return c, fmt.Errorf("unquote the record: %w", err)
		}
		c.Value = []byte(value)
	case "pad":
		size, record, _ := strings.Cut(value, " ")
		n, err := strconv.Atoi(size)
		if err != nil || n < len(record) {
			return c, fmt.Errorf("pad %d bytes to %q", len(record), size)
		}
		c.Value = append([]byte(record), bytes.Repeat([]byte(" "), n-len(record))...)
	case "none":
	default:
		return c, fmt.Errorf("no form %q", words[2])
	}
	return c, nil
}
