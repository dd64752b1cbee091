package main

import (
	"testing"

	"github.com/weir-risk/weir/schemas"
)

// TestNoSecondTokenKey starts a scorer without a key where a ledger is begun: a
// key of its own would tell every card another name.
func TestNoSecondTokenKey(t *testing.T) {
	log, address := brokerWith(t, "decisions")
	appendBatch(t, log, schemas.Facts{ID: schemas.BatchID{Writer: 1, Sequence: 1}, Records: 1})
	call(t, "score", "--kafka", address, "--data", t.TempDir(), "--listen", "127.0.0.1:0").fails(t, exitFailed, "token.key is not there", "--token-key-file")
}
