// Package trace sends OpenTelemetry spans of sampled transactions to a collector, by
// OTLP as Protobuf over HTTP.
//
// A trace is told by where its transaction lies: its id is a hash of the source topic,
// partition and offset, and the id of a span a hash of that and of what the span is. So
// whoever reads a decision or an alert knows its trace and the parents of its spans:
// nothing is added to the ledger, whose bytes are the same with tracing and without, and
// scorer, recorder and desk need not tell one another anything. Whether a transaction is
// sampled follows from its id too, by the rule that collectors have for it (the rightmost
// 56 bits are the random number), so that all roles with the same share trace the same
// ones.
//
//	transaction   from the source record's timestamp to its durable decision   score
//	  wait        from that timestamp to the step that took it
//	  step        decode aside, to its decision
//	  publish     to the acknowledgement of all replicas
//	  alert       to the alert's acknowledgement, its reasons included
//	  history     from the decision's timestamp until it is in the history      record
//	  desk        from the alert's timestamp until it is in the view            desk
//
// Where a source record has a traceparent header, the root has a link to what sent it.
// The link is no parent: the sender's trace id is not in the ledger, so that those who
// come later could not know it.
//
// A [Span] has no room for anything but places, outcomes, scores and counts: no card
// number and no id of a person can become an attribute.
//
// Nobody waits for a collector: [Tracer.Add] puts a span into a bounded queue or drops
// it, and what is dropped is counted. Where there is no tracer, the nil one costs its
// callers a comparison.
//
// The spans' types are OpenTelemetry's own. Its SDK is not used: it would bring gRPC into
// the program, 9 MB, and it neither takes the ids of spans from who makes them nor says
// what it drops.
package trace
