package main

import (
	"fmt"
	"strings"
	"testing"
)

// TestDemoFitsATerminal keeps the table in 80 columns, each number below its name.
func TestDemoFitsATerminal(t *testing.T) {
	row := fmt.Sprintf(tableRow, "2,000", 0.25, 12.34, 12.34, "1,000,000", "338,383", "10,064", "308", "0", "1,234", "38", "100")
	for line := range strings.Lines(tableHead + row) {
		if got := len(strings.TrimSuffix(line, "\n")); got != 80 {
			t.Errorf("%d columns: %s", got, line)
		}
	}
}
