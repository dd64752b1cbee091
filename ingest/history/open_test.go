package history

import (
	"path/filepath"
	"sync"
	"testing"
)

// TestManyOpenANewFile has several roles come to a history that none has made yet: one of
// them gives the file its write-ahead log, and SQLite asks the others to wait for no time.
func TestManyOpenANewFile(t *testing.T) {
	for range 30 {
		path := filepath.Join(t.TempDir(), "history.db")
		var all sync.WaitGroup
		for range 6 {
			all.Go(func() {
				s, err := Open(t.Context(), path, Options{})
				if err != nil {
					t.Error(err)
					return
				}
				_ = s.Close()
			})
		}
		all.Wait()
	}
}
