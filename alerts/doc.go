// Package alerts is the fold of what analysts work on: which alerts there are, what
// was done with each, and what that makes known of the transactions.
//
// [State.Apply] is the rule: one alert's state after one more disposition, and the
// label that follows. It is pure, so that whoever reads the topics alerts and
// dispositions in their order comes to the same states, whatever crashed in between.
// An action names the one that its author had seen last, and counts only if that is
// the last one still: the order of the log decides between two who act at once, and by
// that order nobody but a supervisor decides what another has taken up.
//
// Closing an alert makes a label, undoing that makes another that withdraws it, and
// each has the next version: a label that is sent twice says nothing new. An alert
// that was escalated is closed by two people who say the same. A share of what is closed
// is looked at by a second person, who is not shown the first verdict; what they say is
// kept beside it and changes no label. A supervisor has the last word on a closed alert:
// the label gets its next version, and what was said before stays in the log. Where
// others label the transaction as analysts too, the label goes out above their versions.
//
// [View] is the fold itself, disposable, in a file: view.go opens it, view_fold.go and
// view_labels.go write it, view_memory.go holds what queries walk, view_filter.go and
// view_query.go answer; view_blind.go says what they keep from whom. view_tally.go counts
// along what figures are made of, and view_overview.go makes them; view_events.go says
// what happened, in order. Its clock is the one that its callers bring.
//
// [Desk] follows the topics into a view (follow.go), appends what analysts do and tells
// them what became of it (follow_act.go), and publishes labels (follow_labels.go).
//
// [Trail] is another fold, of the topics audit and dispositions: who saw and did what
// (trail.go), as it follows them (trail_follow.go) and answers (trail_query.go).
package alerts
