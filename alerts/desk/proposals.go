package desk

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/weir-risk/weir/schemas"
)

// Proposal is what a model owner wants to be done with the models. It is durable: once
// it is approved it is carried out, whatever crashes in between, and once.
type Proposal struct {
	ID           string
	What         string // promote, rollback
	Bundle, Name string // the hash of what is to be champion, and what it is called
	// Before and BeforeMs are the champion that it was proposed against, and when its
	// slot was signed: where another one is champion by now, it is not carried out.
	Before    string
	BeforeMs  int64
	Reason    string
	By        string
	At        int64
	State     string
	DecidedBy string
	DecidedMs int64
	Outcome   string
}

// The states of a proposal. Open and approved ones are in the way of another.
const (
	proposalOpen      = "open"
	proposalApproved  = "approved" // and not carried out yet
	proposalDone      = "done"
	proposalDeclined  = "declined"
	proposalWithdrawn = "withdrawn"
	proposalStale     = "stale"  // the champion is another one by now
	proposalFailed    = "failed" // no scorer would take it
)

// The errors of proposals.
var (
	errProposalOpen = errors.New("there is a proposal already")
	errProposalOver = errors.New("the proposal was decided already")
	errProposalNone = errors.New("there is no such proposal")
)

// championSlot is the slot that proposals fill.
const championSlot = "champion"

// PublishedMs is the time of the slot that carries the proposal out: it follows from the
// proposal alone, so that whoever carries it out again writes the same record.
func (p *Proposal) PublishedMs() int64 { return max(p.DecidedMs, p.BeforeMs+1) }

// words says what a proposal does, for the audit log.
func (p *Proposal) words() string {
	verb := map[string]string{"promote": "promote ", "rollback": "roll back to "}[p.What]
	return verb + p.Name + " in place of " + shortHash(p.Before) + ", proposal " + p.ID
}

// shortHash is the beginning of a hash, as decisions name a bundle.
func shortHash(hash string) string { return hash[:min(16, len(hash))] }

// propose keeps a new proposal; errProposalOpen where one is in its way.
func (a *Accounts) propose(ctx context.Context, p *Proposal) error {
	done, err := a.db.ExecContext(ctx, `INSERT INTO proposals (id, slot, what, bundle, name, before, before_ms, reason, by, at_ms, state, decided_by, decided_ms, outcome)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '') ON CONFLICT DO NOTHING`,
		p.ID, championSlot, p.What, p.Bundle, p.Name, p.Before, p.BeforeMs, p.Reason, p.By, p.At, p.State, p.DecidedBy, p.DecidedMs)
	if err == nil {
		err = one(done, errProposalOpen)
	}
	if err != nil {
		return fmt.Errorf("keep proposal: %w", err)
	}
	return nil
}

// decide moves a proposal that is open on; errProposalOver where it no longer is.
func (a *Accounts) decide(ctx context.Context, id, state, by string) error {
	done, err := a.db.ExecContext(ctx, `UPDATE proposals SET state = ?, decided_by = ?, decided_ms = ? WHERE id = ? AND state = ?`, state, by, a.now(), id, proposalOpen)
	if err == nil {
		err = one(done, errProposalOver)
	}
	if err != nil {
		return fmt.Errorf("decide proposal %s: %w", id, err)
	}
	return nil
}

// settle says what came of a proposal, here and in the audit log; it does nothing where
// that is said.
func (a *Accounts) settle(ctx context.Context, p *Proposal, state, outcome string) error {
	err := transaction(ctx, a.db, func(tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx, `UPDATE proposals SET state = ?, outcome = ? WHERE id = ? AND state IN (?, ?)`, state, outcome, p.ID, proposalOpen, proposalApproved)
		if err == nil {
			err = one(done, errProposalOver)
		}
		if errors.Is(err, errProposalOver) {
			return nil // somebody else carried it out
		}
		if err == nil {
			err = a.post(ctx, tx, schemas.AuditEntry{What: schemas.AuditChanged, Of: []byte("model " + p.Bundle), Detail: []byte(outcome + ", proposal " + p.ID)})
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("settle proposal %s: %w", p.ID, err)
	}
	return nil
}

// proposals returns those of a condition, newest first.
func (a *Accounts) proposals(ctx context.Context, where string, limit int, args ...any) (list []Proposal, err error) {
	rows, err := a.db.QueryContext(ctx, `SELECT id, what, bundle, name, before, before_ms, reason, by, at_ms, state, decided_by, decided_ms, outcome
		FROM proposals WHERE `+where+` ORDER BY at_ms DESC, id LIMIT ?`, append(args, limit)...)
	if err != nil {
		return nil, fmt.Errorf("read proposals: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var p Proposal
		if err := rows.Scan(&p.ID, &p.What, &p.Bundle, &p.Name, &p.Before, &p.BeforeMs, &p.Reason, &p.By, &p.At, &p.State, &p.DecidedBy, &p.DecidedMs, &p.Outcome); err != nil {
			return nil, fmt.Errorf("read proposals: %w", err)
		}
		list = append(list, p)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read proposals: %w", err)
	}
	return list, nil
}

// proposal returns one; errProposalNone where there is none.
func (a *Accounts) proposal(ctx context.Context, id string) (*Proposal, error) {
	list, err := a.proposals(ctx, `id = ?`, 1, id)
	if err == nil && len(list) == 0 {
		err = errProposalNone
	}
	if err != nil {
		return nil, err
	}
	return &list[0], nil
}
