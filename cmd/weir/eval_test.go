package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-risk/weir/trainer"
)

// TestEvalLeavesOutKnownCards holds the protocol's rule: a card with a fraud on a
// day of training or of the wait is gone from the test week, from the eighth day
// after that fraud at the latest.
func TestEvalLeavesOutKnownCards(t *testing.T) {
	start := dayTime("2018-07-25")
	d := trainer.NewDataset([]string{"x"})
	for day := range int64(28) {
		for card := uint64(1); card <= 4; card++ {
			// Card 1 has a fraud in training, card 2 on the third day of the wait, card
			// 3 on its last day, card 4 in the test week.
			fraud := card == 1 && day == 2 || card == 2 && day == 9 || card == 3 && day == 13 || card == 4 && day == 15
			d.AddCard([]float32{float32(card)}, fraud, start+day*dayMs+int64(card), 100, card)
		}
	}
	v := &evaluation{rows: d}
	got := map[uint64]string{}
	test := v.test(start)
	for i, card := range test.Card {
		got[card] += fmt.Sprint((test.Time[i]-start)/dayMs-14, " ")
	}
	want := map[uint64]string{2: "0 1 2 ", 3: "0 1 2 3 4 5 6 ", 4: "0 1 2 3 4 5 6 "}
	for card := range uint64(5) {
		if got[card] != want[card] {
			t.Errorf("card %d is tested on days %q, not %q", card, got[card], want[card])
		}
	}
	if test.Frauds() != 1 {
		t.Errorf("%d frauds in the test week", test.Frauds())
	}
}

func TestEvalSaysWhatIsWrong(t *testing.T) {
	file := filepath.Join(t.TempDir(), "short.csv")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ args, want string }{
		{"eval", "say what to measure"},
		{"eval handbook --train-days 3", "--train-days 3: 7 to 60"},
		{"eval handbook --epochs 0", "Epochs cannot be 0"},
		{"eval handbook --spec none --input " + file, "none"},
		{"eval handbook", "--input FILE names the book's transactions"},
		{"eval handbook --input " + file, "read transactions of"},
	} {
		var out, errs strings.Builder
		e := &env{stdout: &out, stderr: &errs, lookup: func(string) (string, bool) { return "", false }}
		code := run(t.Context(), strings.Fields(c.args), e)
		if code == 0 || !strings.Contains(errs.String(), c.want) {
			t.Errorf("%s: exit %d, %q does not say %q", c.args, code, errs.String(), c.want)
		}
	}
}

// TestEvalFitsATerminal keeps the table and the list of features in 80 columns.
func TestEvalFitsATerminal(t *testing.T) {
	names := []string{"online", strings.Repeat("x", 40), strings.Repeat("y", 40), "night"}
	list := columns(names, 78)
	if want := "  online  " + names[1] + "\n  " + names[2] + "  night"; list != want {
		t.Errorf("%q, want %q", list, want)
	}
	for line := range strings.Lines(evalHead + evalRow("validation", "2018-07-11", "58,505", "374", evalMetrics{0.8881, 0.6799, 0.2843})) {
		if n := len(strings.TrimSuffix(line, "\n")); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}
