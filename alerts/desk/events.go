package desk

import (
	"fmt"
	"net/http"
	"time"
)

// beat is how often a stream says that it is there, so that no proxy takes it for dead,
// and sees whether its reader may still have it.
const beat = 20 * time.Second

// events tells a browser how many alerts came, as they come (server-sent events, HTML
// standard 9.2): "arrived", and the number since the last word. A reader that was too
// slow for all of them is told of one more: the list has to be loaded anew either way.
func (s *Server) events(w http.ResponseWriter, r *http.Request) error {
	events, stop := s.options.Desk.Subscribe()
	defer stop()
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	c := http.NewResponseController(w)
	beats := time.NewTicker(beat)
	defer beats.Stop()
	for text := ": begun\n\n"; ; {
		if text != "" {
			// The stream outlives the deadline of a page, one word of it does not.
			_ = c.SetWriteDeadline(time.Now().Add(writeWithin)) // not every writer has one
			if _, err := w.Write([]byte(text)); err != nil {
				return nil // the browser is gone
			}
			if err := c.Flush(); err != nil {
				return nil
			}
		}
		text = ""
		select {
		case e := <-events:
			n := 0
			for more := true; more; {
				if e.Kind == "arrived" || e.Lost {
					n++
				}
				select {
				case e = <-events:
				default:
					more = false
				}
			}
			if n > 0 {
				text = fmt.Sprintf("event: arrived\ndata: %d\n\n", n)
			}
		case <-beats.C:
			// It was let in once, and goes on for longer than a session may.
			if in, err := s.still(r); !in || err != nil {
				return nil // the browser asks again, and is told by the guard
			}
			text = ": here\n\n"
		case <-r.Context().Done():
			return nil
		}
	}
}

// still reports whether whoever made a request that goes on would be let in again.
func (s *Server) still(r *http.Request) (bool, error) {
	u, err := s.options.Accounts.again(r.Context(), requesterOf(r.Context()).session)
	return err == nil && desk.Any(u.Roles), err
}
