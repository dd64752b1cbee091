package schemas

// AuditAct is what somebody did that is kept for whoever has to answer for it.
type AuditAct uint8

// The acts that are audited.
const (
	AuditLoggedIn    AuditAct = iota
	AuditLoginFailed          // Detail says why; the one who tried is told less
	AuditLoggedOut
	AuditViewed
	AuditExported
	AuditApproved
	AuditChanged // a setting
	AuditDenied  // asked for what the roles do not allow
	NumAuditActs
)

// AuditTextBytesMax bounds each text of an audit entry.
const AuditTextBytesMax = 2048

// AuditNobody is who did what an account does not stand behind: a log-in under a
// name that there is not. What was typed as the name is not kept, since it may be a
// password in the wrong field. No account can be called so.
const AuditNobody = "?"

// AuditEntry is one act of one person, written to the topic audit before its effect
// can be seen. An entry may be there twice where an answer of the log was lost; then
// both have the same ID.
type AuditEntry struct {
	ID      []byte // of this entry, unique
	At      int64  // ms since the Unix epoch
	Who     []byte // name of the account, or AuditNobody; the record's key
	What    AuditAct
	Of      []byte // what it was done to: a path, an alert's id, a model; empty where nothing
	Address []byte // where the request came from
	Detail  []byte // more, in words; empty where there is no more
}
