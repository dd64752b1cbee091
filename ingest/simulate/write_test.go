package simulate

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"
)

func TestWriteSuccess(t *testing.T) {
	cfg := small()
	cfg.Days = 30
	var txs, labels, truth bytes.Buffer
	last, calls := 0, 0
	sum, err := Write(Files{&txs, &labels, &truth}, cfg, func(done, total int) {
		if done < last || done > total || total != 30*24 {
			t.Fatalf("progress %d of %d after %d", done, total, last)
		}
		last = done
		calls++
	})
	if err != nil || last != 30*24 || calls < 30 {
		t.Fatalf("%v, %d calls, the last of hour %d", err, calls, last)
	}
	count := func(text []byte, fields ...string) int {
		n := 0
		for line := range bytes.Lines(text) {
			var m map[string]any
			if err := json.Unmarshal(line, &m); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			for _, f := range fields {
				if m[f] == nil || m[f] == "" {
					t.Fatalf("%s: no %s", line, f)
				}
			}
			n++
		}
		return n
	}
	if n := count(txs.Bytes(), "id", "time", "amount"); n != sum.Transactions || n < 30_000 {
		t.Errorf("%d transactions, counted %d", n, sum.Transactions)
	}
	if n := count(labels.Bytes(), "tx_id", "verdict", "source", "known_at", "version"); n != sum.Labels || n < 100 {
		t.Errorf("%d labels, counted %d", n, sum.Labels)
	}
	if n := count(truth.Bytes(), "id", "fraud_type"); n != sum.Frauds || n < 100 {
		t.Errorf("%d frauds, counted %d", n, sum.Frauds)
	}
}

type full struct{}

var errFull = errors.New("full")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestWriteFailure(t *testing.T) {
	cfg := small()
	cfg.Days = 1
	if _, err := WriteJSONL(full{}, cfg, nil); !errors.Is(err, errFull) {
		t.Errorf("a full disk gives %v", err)
	}
	cfg.Days = 0
	if _, err := WriteJSONL(new(bytes.Buffer), cfg, nil); err == nil {
		t.Error("an endless bank is written")
	}
	cfg.Customers = 0
	if _, err := WriteJSONL(new(bytes.Buffer), cfg, nil); err == nil {
		t.Error("an empty bank is written")
	}
}
