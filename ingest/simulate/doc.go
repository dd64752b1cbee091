// Package simulate is a bank to try weir on: customers with habits pay
// merchants, attackers commit several kinds of fraud, and the truth becomes
// known late.
//
// In goes a [Config]; out come two streams, each in the order of time: records
// of transactions with the truth attached ([Bank.Next]), and labels
// ([Bank.NextLabel]). Both can be written as the JSON that the built-in
// payments spec and the labels topic take. A seed gives the same bytes every
// time and on every processor; nothing here reads a clock, so the caller sets
// the pace. [Write] puts a bank's days into files.
//
// Next takes the earliest of five things: a customer's own payment, the next
// move of an attacker, what follows from an earlier transaction (a capture, a
// refund, a second try, a record sent twice or held up), the start of an
// attack, the end of one. Each customer has one payment due, in a heap, so
// memory does not grow with the number of transactions.
//
// # The people
//
// A customer has a home town, a way to live (when in the week he pays), a usual
// size of payments, six favourite shops in town and two online, one or two
// devices, four payees, and now and then a journey. Merchants have a category,
// a place and terminals; some sell online only. Countries pay in their own
// currencies. Card numbers are of a test range, with a right check digit; a
// stolen card is replaced.
//
// # The fraud
//
//	high_amount           one or two payments about fifteen times the usual
//	compromised_terminal  a share of a terminal's payments for 3 to 21 days
//	stolen_card           4 to 9 payments in the customer's town within a day
//	card_testing          tiny payments at many online shops within minutes, then a big one
//	account_takeover      2 to 5 transfers from a new device and another country
//	push_payment          the customer himself transfers to a mule; appears after months
//
// Attackers come at random, and stay away while their kind has its share of
// all transactions. With [Drift] prices rise, people buy more online and pay
// without contact, and attackers keep their amounts lower; from its ShiftDay on the
// kinds weigh otherwise.
//
// # The labels
//
// An analyst's verdict takes hours, a customer's report a day, a chargeback days
// to weeks; each source knows of a share of frauds only. Some verdicts are wrong,
// some chargebacks are not for fraud, some are withdrawn (version 2, verdict
// none). What nobody reports stays unlabelled.
//
// # Limits and units
//
// Times are milliseconds since the Unix epoch, amounts minor units of their
// currency. A [Bank] belongs to one goroutine and allocates nothing once its
// queues have grown to what is usually under way; labels that nobody asks for
// pile up, unless the shares of [Labels] are 0. [Config.Validate] names
// the limits. What it does not do: real BINs, holidays, pay days, time zones
// (people live by UTC), payouts, gangs that share cards.
package simulate
