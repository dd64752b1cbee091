package desk

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/weir-risk/weir/alerts"
	"github.com/weir-risk/weir/schemas"
)

// snoozes are how long an alert may be put off.
var snoozes = []struct {
	Word, Name string
	until      func(now time.Time) time.Time
}{
	{"1h", "for 1 h", func(now time.Time) time.Time { return now.Add(time.Hour) }},
	{"4h", "for 4 h", func(now time.Time) time.Time { return now.Add(4 * time.Hour) }},
	{"morning", "until tomorrow 8:00", func(now time.Time) time.Time {
		y, m, d := now.UTC().Date() // as pages show times
		return time.Date(y, m, d+1, 8, 0, 0, 0, time.UTC)
	}},
}

// snoozedUntil returns until when a word puts off.
func snoozedUntil(word string, now time.Time) (time.Time, bool) {
	for _, s := range snoozes {
		if s.Word == word {
			return s.until(now), true
		}
	}
	return time.Time{}, false
}

// told is what the page of an alert says after an action of who looks at it that did not
// count, by the word for it in the address: nothing that a stranger can put into a link
// is shown. It names who was faster, as the alert has it.
func told(word string, i *alerts.Item, who string, now int64) string {
	by, at := cmp.Or(i.LastBy, "somebody else"), ""
	if i.LastAt > 0 {
		at = ", " + ago(i.LastAt, now)
	}
	switch word {
	case "stale":
		if by == who {
			return "You acted on it already" + at + ": this is how it stands. Nothing was done twice."
		}
		return by + " acted on it first" + at + ": this is how it stands now. Nothing of yours was done."
	case "closed":
		return by + " closed it already" + at + ". Nothing of yours was done."
	case "nothing":
		return "That cannot be done with it as it stands."
	case "eyes":
		return "You gave a verdict on it before: another person has to give this one."
	case "undo":
		return "Too late to undo: only its author can, and within ten seconds."
	case "early":
		return "It was closed a moment ago, and that can still be taken back: give your verdict in ten seconds. Nothing was done."
	case "owner":
		return cmp.Or(i.Owner, "Somebody else") + " works on it. Nothing of yours was done: only they decide, or a supervisor."
	}
	return ""
}

// whyNot is the word for why an action did not count.
func whyNot(err error) string {
	for _, x := range []struct {
		err  error
		word string
	}{{alerts.ErrStale, "stale"}, {alerts.ErrClosed, "closed"}, {alerts.ErrSameEyes, "eyes"}, {alerts.ErrNoUndo, "undo"}, {alerts.ErrOwned, "owner"}} {
		if errors.Is(err, x.err) {
			return x.word
		}
	}
	return "nothing"
}

// act does with an alert what its form says, and shows what came of it.
func (s *Server) act(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	kind, ok := schemas.ParseDispositionKind(r.PostFormValue("kind"))
	note, reason := r.PostFormValue("note"), r.PostFormValue("reason")
	until, known := snoozedUntil(cmp.Or(r.PostFormValue("for"), "4h"), s.options.Now())
	if kind == schemas.Snoozed && !known {
		ok = false
	}
	if !ok || kind > schemas.Undone || len(note) > schemas.NoteBytesMax || !knownReason(reason) || kind == schemas.Noted && note == "" || kind == schemas.Undone && r.PostFormValue("previous") == "" {
		return problemf(http.StatusBadRequest, "The form was not understood, so nothing was done. A note has %d bytes at most, and to note something it must not be empty.", schemas.NoteBytesMax)
	}
	i, err := s.find(r, id)
	if err == nil {
		d := schemas.Disposition{Kind: kind, Note: []byte(note), Reason: []byte(reason), Previous: []byte(r.PostFormValue("previous"))}
		if kind == schemas.Snoozed {
			d.Until = until.UnixMilli()
		}
		err = s.do(r, &i, d)
	}
	to := "/alerts/" + url.PathEscape(id)
	var void voidError
	if errors.As(err, &void) {
		to, err = to+"?told="+whyNot(void.error), nil
	}
	if err != nil {
		return err
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

// voidError is of an action that did not count.
type voidError struct{ error }

// Unwrap returns why it did not.
func (v voidError) Unwrap() error { return v.error }

// mayDecide reports whether a page offers somebody more to do with an alert than to note
// something: where one works on it only they, or a supervisor. What counts is what the
// log says, by the same rule: [alerts.State.Apply].
func mayDecide(u *User, i *alerts.Item, now int64) bool {
	return i.At(now) != alerts.Claimed || i.Owner == u.Name || u.Roles.Any(Roles(Supervisor))
}

// do sends an action of who asks on an alert, and waits for what comes of it. Of a card
// number in the note only what may be shown is kept. An id, where the action has one, is
// of a request that acts once, however often it comes; otherwise it follows from what is
// done. Errors are of the log, or a voidError.
func (s *Server) do(r *http.Request, i *alerts.Item, d schemas.Disposition) error {
	u, now := s.user(r), s.options.Now()
	d.AlertID, d.TxID, d.By, d.At, d.Note = i.ID, i.Text[schemas.ID], []byte(u.Name), now.UnixMilli(), schemas.HideCards(d.Note)
	if d.ID == nil {
		d.ID = actionID(&d)
	}
	return s.send(r, i, d)
}

// send sends an action on an alert and waits for what comes of it. What only a
// supervisor may do is not sent for anybody else, whichever page or program asks.
func (s *Server) send(r *http.Request, i *alerts.Item, d schemas.Disposition) error {
	switch d.Kind {
	case schemas.Assigned, schemas.SettledFraud, schemas.SettledGenuine:
		if !s.user(r).Roles.Any(Roles(Supervisor)) {
			return problemf(http.StatusForbidden, "Only a supervisor assigns alerts and settles verdicts. Nothing was done.")
		}
	}
	if approves(i, d.Kind) {
		if err := s.audit(r.Context(), schemas.AuditEntry{What: schemas.AuditApproved, Of: i.ID, Detail: []byte(d.Kind.String())}); err != nil {
			return err
		}
	}
	d.As = schemas.AsAnalyst
	if s.user(r).Roles.Any(Roles(Supervisor)) {
		d.As = schemas.AsSupervisor
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.options.ActWithin)
	defer cancel()
	settled, err := s.options.Desk.Act(ctx, d)
	if errors.Is(err, context.DeadlineExceeded) {
		s.options.Log.Error("action without an answer", "alert", string(i.ID), "cause", err)
		return problemf(http.StatusServiceUnavailable, "The log did not answer in time, so it is not known whether this counts. Go back in a minute and look at the alert's timeline before you do it again.")
	}
	if err != nil {
		return fmt.Errorf("act on alert %s: %w", i.ID, err)
	}
	if settled.Err != nil {
		return voidError{settled.Err}
	}
	return nil
}

// actionID is the id of an action: a hash of what its form says. So a form that comes
// again, because a key was hit twice or no answer came, is the same action, and is told
// what became of it; under an id of its own it would be told that somebody else was
// first. To do the same once more is another action: Previous is another one by then.
func actionID(d *schemas.Disposition) []byte {
	h := sha256.New()
	for _, text := range [][]byte{d.AlertID, d.By, {byte(d.Kind)}, d.Reason, d.Note, d.Previous} {
		_, _ = h.Write(binary.AppendUvarint(nil, uint64(len(text)))) // a hash takes all
		_, _ = h.Write(text)
	}
	return hex.AppendEncode(nil, h.Sum(nil)[:16])
}

// approves reports whether an action is the second pair of eyes, or a supervisor's last
// word: those are in the audit log as well.
func approves(i *alerts.Item, kind schemas.DispositionKind) bool {
	switch kind {
	case schemas.ClosedFraud:
		return i.Status == alerts.ProposedFraud
	case schemas.ClosedGenuine:
		return i.Status == alerts.ProposedGenuine
	}
	return kind == schemas.SettledFraud || kind == schemas.SettledGenuine
}

// knownReason reports whether a reason is one of the desk's list, or none.
func knownReason(reason string) bool {
	for _, c := range reasonCodes {
		if c.Code == reason {
			return true
		}
	}
	return reason == ""
}
