// Command weir scores a stream of payments: every payment in, one durable
// decision out.
package main
