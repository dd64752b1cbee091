package kafka_test

import (
	"context"
	"sync"
	"testing"
)

// TestARequestOutlivesTheOneBeforeIt asks over connections whose last request was of a
// context that ends just then, as a web server's do: none fails for that.
func TestARequestOutlivesTheOneBeforeIt(t *testing.T) {
	_, f := faulty(t, nil)
	for i := range 3000 {
		before, end := context.WithCancel(t.Context())
		if _, _, err := f.c.Offsets(before, f.topic, 0); err != nil {
			t.Fatal(err)
		}
		var ending sync.WaitGroup
		ending.Go(end)
		_, _, err := f.c.Offsets(t.Context(), f.topic, 0)
		ending.Wait()
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
	}
}
