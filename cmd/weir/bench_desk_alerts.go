package main

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/weir-risk/weir/schemas"
)

// benchReasons are what alerts of a measurement give as their reasons.
var benchReasons = []schemas.AlertReason{
	{Group: []byte("amount"), Words: [][]byte{[]byte("9.2 times this customer's 30-day mean")}},
	{Group: []byte("velocity"), Words: [][]byte{[]byte("7 payments by this card within an hour; 2 is the most in a usual one")}},
	{Group: []byte("merchant"), Words: [][]byte{[]byte("this customer's first payment there")}},
	{Group: []byte("device"), Words: [][]byte{[]byte("a device that 5 customers have used today")}},
}

// benchAlert makes an alert of the ledger's offset, raised at a time, on one of so many
// cards; id is the alert's.
func benchAlert(r *rand.Rand, offset int64, cards int, at int64) (value []byte, id string) {
	d := schemas.Decision{Action: schemas.Review, Bundle: 7, Prob: r.Float32(), Threshold: 0.3}
	d.Score = d.Prob
	d.Tx = schemas.Transaction{Time: at - 50, Amount: 100 + r.Int64N(100_000), Status: schemas.Approved}
	d.Tx.AmountBase = d.Tx.Amount
	d.Rank = d.Prob * float32(math.Sqrt(float64(d.Tx.AmountBase)))
	who := r.IntN(cards)
	for f, text := range map[schemas.TextField]string{
		schemas.ID: fmt.Sprintf("tx-%d", offset), schemas.Card: fmt.Sprintf("k1.card%06x%08x", who, uint32(who)*2654435761), schemas.Customer: fmt.Sprintf("cust%06x", who),
		schemas.Account: fmt.Sprintf("acct%06x", who), schemas.Merchant: fmt.Sprintf("shop%06x", r.IntN(max(1, cards/20))), schemas.Terminal: fmt.Sprintf("term%06x", r.IntN(max(1, cards/10))),
		schemas.Device: fmt.Sprintf("dev%06x", r.IntN(cards)), schemas.IP: fmt.Sprintf("10.0.%d.%d", r.IntN(256), r.IntN(256)),
		schemas.Currency: "EUR", schemas.Country: "DE", schemas.MCC: "5411", schemas.Channel: []string{"ecom", "pos", "atm"}[r.IntN(3)],
	} {
		d.Text[f] = []byte(text)
	}
	var reasons []schemas.AlertReason
	for _, x := range benchReasons {
		if r.IntN(2) == 0 {
			x.Logit = r.Float32()*4 - 1
			reasons = append(reasons, x)
		}
	}
	return schemas.AppendAlertJSON(nil, &d, 0, offset, reasons, false), string(schemas.AppendAlertID(nil, 0, offset))
}
