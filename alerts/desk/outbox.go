package desk

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/weir-risk/weir/schemas"
)

// What changes an account writes its entry of the audit log into the outbox, in the same
// transaction: weir user works where no log is in reach, and no change is without its
// entry. From there entries go to the log, each until it is there for sure, under the id
// that it was given here.

// entryID draws the id of an entry of the audit log.
func entryID() []byte {
	var id [16]byte
	_, _ = rand.Read(id[:]) // it never fails, see crypto/rand
	return hex.AppendEncode(nil, id[:])
}

// post puts an entry into the outbox. Within a request it is by the one who makes it,
// otherwise by whom [AccountsConfig] names.
func (a *Accounts) post(ctx context.Context, tx *sql.Tx, e schemas.AuditEntry) error {
	e.ID, e.At, e.Who = entryID(), a.now(), []byte(schemas.AuditNobody)
	if q, ok := ctx.Value(requesterKey{}).(*requester); ok {
		e.Address = []byte(q.address)
		if q.user != nil {
			e.Who = []byte(q.user.Name)
		}
	} else if a.config.By != "" {
		e.Detail = append(append(e.Detail, "; by "...), a.config.By...)
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO outbox (entry) VALUES (?)`, schemas.AppendAuditJSON(nil, &e))
	return err
}

// outboxAtOnce is how many entries are read from the outbox at once.
const outboxAtOnce = 100

// Drain writes what is in the outbox to the audit log, in its order. An entry is taken
// out once it is there; two who drain at once, or one who dies between, write it twice,
// under one id.
func (a *Accounts) Drain(ctx context.Context, audit func(context.Context, schemas.AuditEntry) error) error {
	for {
		places, entries, err := a.outbox(ctx)
		if err != nil {
			return fmt.Errorf("read the outbox of the audit log: %w", err)
		}
		for i, place := range places {
			var e schemas.AuditEntry
			if err := schemas.ParseAudit(entries[i], &e); err != nil {
				return fmt.Errorf("read entry %d of the outbox of the audit log: %w", place, err)
			}
			if err := audit(ctx, e); err != nil {
				return err
			}
			if _, err := a.db.ExecContext(ctx, `DELETE FROM outbox WHERE place = ?`, place); err != nil {
				return fmt.Errorf("take entry %d out of the outbox of the audit log: %w", place, err)
			}
		}
		if len(places) < outboxAtOnce {
			return nil
		}
	}
}

func (a *Accounts) outbox(ctx context.Context) (places []int64, entries [][]byte, err error) {
	rows, err := a.db.QueryContext(ctx, `SELECT place, entry FROM outbox ORDER BY place LIMIT ?`, outboxAtOnce)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var place int64
		var entry []byte
		if err := rows.Scan(&place, &entry); err != nil {
			return nil, nil, err
		}
		places, entries = append(places, place), append(entries, entry)
	}
	return places, entries, rows.Err()
}

// choresEvery is how often the desk does what nobody asks it to.
const choresEvery = 5 * time.Second

// Run does what the desk does by itself until the context ends, which is a clean stop
// and no error: it carries out what is approved, and writes the outbox to the audit
// log. What fails is tried again.
func (s *Server) Run(ctx context.Context) error {
	every := time.NewTicker(choresEvery)
	defer every.Stop()
	for said := ""; ; {
		switch err := s.chores(ctx); {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			said = ""
		case err.Error() != said:
			said = err.Error()
			s.options.Log.Error("the desk's own work failed; tried again", "cause", err)
		}
		select {
		case <-every.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// chores are one round of Run.
func (s *Server) chores(ctx context.Context) error {
	return errors.Join(s.settleProposals(ctx), s.options.Accounts.Drain(ctx, s.options.Audit))
}
