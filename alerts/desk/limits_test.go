package desk

import (
	"net/http"
	"testing"
	"time"
)

// TestLimitsChange has pages and webhooks go by other limits while the desk serves.
func TestLimitsChange(t *testing.T) {
	f, _, _, sue, _ := newTeam(t)
	f.server.SetLimits(Limits{Within: time.Hour, Approvals: 2})
	f.raise("card-a", "shop", 1000, .9)
	f.pass(5 * time.Minute)
	sue.get("/supervisor").is(t, http.StatusOK, "0 late", "over 1 h")
	f.server.SetLimits(Limits{Within: 2 * time.Minute, SecondLooks: 1, Approvals: 1, WebhooksAllow: loopback})
	sue.get("/supervisor").is(t, http.StatusOK, "1 late", "over 2 min")
	if !f.server.sender.allowed(loopback[0].Addr()) || f.server.limits.Load().Approvals != 1 {
		t.Errorf("limits are %+v", f.server.limits.Load())
	}
	f.server.SetLimits(Limits{Within: 2 * time.Minute})
	if f.server.sender.allowed(loopback[0].Addr()) {
		t.Error("webhooks lead where they may not any more")
	}
}
