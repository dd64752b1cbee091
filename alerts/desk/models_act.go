package desk

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/weir-risk/weir/schemas"
)

// modelRoutes are of the models' page.
func (s *Server) modelRoutes() []route {
	return []route{
		{pattern: "GET /models", roles: Roles(ModelOwner, Supervisor, Auditor), handle: s.models, of: address, nav: "Models"},
		{pattern: "POST /models/proposals", roles: Roles(ModelOwner), handle: s.propose},
		{pattern: "POST /models/proposals/{id}", roles: Roles(ModelOwner), handle: s.decideProposal},
	}
}

// lookAtModels returns what is known of the models.
func (s *Server) lookAtModels(ctx context.Context) (*ModelsNow, error) {
	if s.options.Models == nil {
		return nil, problemf(http.StatusNotFound, "This desk knows of no models. weir model ls lists them.")
	}
	ctx, cancel := context.WithTimeout(ctx, modelsLookWithin)
	defer cancel()
	now, err := s.options.Models.Look(ctx)
	if err != nil {
		s.options.Log.Error("models not read", "cause", err)
		return nil, problemf(http.StatusServiceUnavailable, "The topic models could not be read, so nothing is known of the models now and nothing was done. Try again in a minute.")
	}
	return now, nil
}

// reasonMax bounds why something is proposed, in bytes.
const reasonMax = 500

// propose keeps what a model owner wants to be done, for another to approve.
func (s *Server) propose(w http.ResponseWriter, r *http.Request) error {
	reason := strings.TrimSpace(string(schemas.HideCards([]byte(r.PostFormValue("reason")))))
	if reason == "" || len(reason) > reasonMax {
		return problemf(http.StatusBadRequest, "Say why, in 1 to %d bytes: whoever approves it, and whoever looks at it in a year, wants to know. Nothing was done.", reasonMax)
	}
	now, err := s.lookAtModels(r.Context())
	if err != nil {
		return err
	}
	what, target := r.PostFormValue("what"), (*Model)(nil)
	switch what {
	case "promote":
		target = now.Challenger
	case "rollback":
		target = now.Previous
	default:
		return problemf(http.StatusBadRequest, "The form was not understood, so nothing was done. Load the page of the models anew.")
	}
	switch {
	case !now.MaySign:
		return problemf(http.StatusConflict, "This desk has no key to sign with, so it can make nothing champion: weir desk --signing-key FILE gives it one, or use weir model %s.", what)
	case now.Champion == nil || target == nil || target.Hash != r.PostFormValue("bundle") || now.Champion.Hash != r.PostFormValue("before"):
		return problemf(http.StatusConflict, "The models are other ones now than on the page that you saw: the champion is %s. Nothing was done. Look at the page anew.", modelNameOf(now.Champion))
	}
	u := s.user(r)
	p := Proposal{ID: string(entryID()[:12]), What: what, Bundle: target.Hash, Name: target.Name, Before: now.Champion.Hash, BeforeMs: now.Since,
		Reason: reason, By: u.Name, At: s.options.Now().UnixMilli(), State: proposalOpen}
	act, verb := schemas.AuditChanged, "proposes to "
	if s.limits.Load().Approvals == 1 {
		act, verb = schemas.AuditApproved, "decides alone to "
		p.State, p.DecidedBy, p.DecidedMs = proposalApproved, u.Name, p.At
	}
	// What is in the way already is not audited as done; of two at once the file decides.
	open, err := s.options.Accounts.proposals(r.Context(), `state IN (?, ?)`, 1, proposalOpen, proposalApproved)
	if err == nil && len(open) > 0 {
		return errInTheWay
	}
	if err == nil {
		err = s.auditProposal(r.Context(), act, &p, verb+p.words()+": "+reason)
	}
	if err == nil {
		err = s.options.Accounts.propose(r.Context(), &p)
	}
	if errors.Is(err, errProposalOpen) {
		return errInTheWay
	}
	if err != nil {
		return err
	}
	return s.carryOut(w, r)
}

var errInTheWay = problemf(http.StatusConflict, "Another proposal is open. It has to be approved, declined or withdrawn first: two at once would each be about a champion that the other changes.")

// modelNameOf is what a page calls a model.
func modelNameOf(m *Model) string {
	if m == nil {
		return "none"
	}
	return m.Name + " (" + shortHash(m.Hash) + ")"
}

func (s *Server) auditProposal(ctx context.Context, act schemas.AuditAct, p *Proposal, detail string) error {
	return s.audit(ctx, schemas.AuditEntry{What: act, Of: []byte("model " + p.Bundle), Detail: []byte(detail)})
}

// decideProposal approves, declines or withdraws a proposal. Nobody approves their own.
func (s *Server) decideProposal(w http.ResponseWriter, r *http.Request) error {
	p, err := s.options.Accounts.proposal(r.Context(), r.PathValue("id"))
	if errors.Is(err, errProposalNone) {
		return problemf(http.StatusNotFound, "There is no such proposal. Look at the page of the models anew.")
	}
	if err != nil {
		return err
	}
	u, state, act := s.user(r), "", schemas.AuditChanged
	switch verb := r.PostFormValue("act"); {
	case verb == "approve" && p.By == u.Name:
		if err := s.auditProposal(r.Context(), schemas.AuditDenied, p, "wanted to approve the own proposal "+p.ID); err != nil {
			return err
		}
		return problemf(http.StatusForbidden, "You proposed it, so another model owner has to approve it. Nothing was done.")
	case verb == "approve":
		state, act = proposalApproved, schemas.AuditApproved
	case verb == "decline" && p.By != u.Name:
		state = proposalDeclined
	case verb == "withdraw" && p.By == u.Name:
		state = proposalWithdrawn
	default:
		return problemf(http.StatusBadRequest, "The form was not understood, so nothing was done. Load the page of the models anew.")
	}
	if p.State != proposalOpen {
		return errOver(p)
	}
	if state == proposalApproved {
		if err := s.stillTrue(r.Context(), p); err != nil {
			return err
		}
	}
	if err := s.auditProposal(r.Context(), act, p, state+": "+p.By+" proposes to "+p.words()); err != nil {
		return err
	}
	if err := s.options.Accounts.decide(r.Context(), p.ID, state, u.Name); errors.Is(err, errProposalOver) {
		return errOver(p)
	} else if err != nil {
		return err
	}
	return s.carryOut(w, r)
}

func errOver(p *Proposal) error {
	return problemf(http.StatusConflict, "The proposal to %s was decided already. Nothing was done. The page of the models says what came of it.", p.words())
}

// stillTrue sees that a proposal is about the champion that there is.
func (s *Server) stillTrue(ctx context.Context, p *Proposal) error {
	now, err := s.lookAtModels(ctx)
	if err != nil {
		return err
	}
	if now.Champion != nil && now.Champion.Hash == p.Before && now.Since == p.BeforeMs {
		return nil
	}
	if err := s.options.Accounts.settle(ctx, p, proposalStale, staleWords(now)); err != nil {
		return err
	}
	return problemf(http.StatusConflict, "The proposal to %s is out of date: the champion is %s by now. Nothing was done, and the proposal is closed. Look at the figures anew and propose again.", p.words(), modelNameOf(now.Champion))
}

func staleWords(now *ModelsNow) string {
	return "out of date: the champion is " + modelNameOf(now.Champion) + " by now"
}

// carryOut does what is approved, and leads to the page. What cannot be done now is
// done later, by [Server.Run].
func (s *Server) carryOut(w http.ResponseWriter, r *http.Request) error {
	if err := s.settleProposals(r.Context()); err != nil {
		s.options.Log.Error("proposal not carried out yet; tried again", "cause", err)
	}
	http.Redirect(w, r, "/models", http.StatusSeeOther)
	return nil
}

// settleProposals carries out what is approved, wherever a desk before this one came to:
// the slot's record follows from the proposal, so one that is written already is seen to
// be, and one that is written twice is one.
func (s *Server) settleProposals(ctx context.Context) error {
	if s.options.Models == nil {
		return nil
	}
	s.settling.Lock()
	defer s.settling.Unlock()
	list, err := s.options.Accounts.proposals(ctx, `state = ?`, 1, proposalApproved)
	if err != nil || len(list) == 0 {
		return err
	}
	p := &list[0]
	now, err := s.options.Models.Look(ctx)
	if err != nil {
		return err
	}
	if !published(now, p) {
		if now.Champion == nil || now.Champion.Hash != p.Before || now.Since != p.BeforeMs {
			return s.options.Accounts.settle(ctx, p, proposalStale, staleWords(now))
		}
		by := p.By
		if p.DecidedBy != p.By {
			by += ", approved by " + p.DecidedBy
		}
		err := s.options.Models.Publish(ctx, Publication{Bundle: p.Bundle, Previous: p.Before, By: by, Reason: p.Reason, Time: p.PublishedMs(), PreviousMs: p.BeforeMs})
		switch {
		case errors.Is(err, ErrModelRefused):
			return s.options.Accounts.settle(ctx, p, proposalFailed, "not done: "+err.Error())
		case errors.Is(err, ErrModelOvertaken):
			return s.options.Accounts.settle(ctx, p, proposalStale, "not done: "+err.Error())
		case err != nil:
			return fmt.Errorf("publish %s: %w", p.Name, err)
		}
	}
	return s.options.Accounts.settle(ctx, p, proposalDone, "champion is "+p.Name+", in place of "+shortHash(p.Before))
}

// published reports whether the slot's record that carries a proposal out is there, in
// force or not.
func published(now *ModelsNow, p *Proposal) bool {
	for _, c := range now.Slots {
		if c.Slot == championSlot && c.Hash == p.Bundle && c.Time == p.PublishedMs() {
			return true
		}
	}
	return false
}
