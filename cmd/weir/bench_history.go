package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/weir-risk/weir/ingest/history"
	"github.com/weir-risk/weir/schemas"
)

// benchShard is the shard of a measured history: places of its ledger are none of
// those that the alerts of a measurement have.
const benchShard = 1

// benchHistory writes payments into a history: of the days before a time, in its order,
// by so many cards and at the merchants of which benchAlert makes alerts, with features,
// and with a fraud label for one in a hundred. A million take SQLite 70 s of CPU and 0.7 GB.
func benchHistory(ctx context.Context, store history.Writer, cards, payments int, until time.Time, days int) error {
	if _, err := store.Migrate(ctx); err != nil {
		return fmt.Errorf("seed a history: %w", err)
	}
	r := rand.New(rand.NewPCG(2, 1))
	from := until.AddDate(0, 0, -days).UnixMilli()
	every := float64(until.UnixMilli()-from) / float64(payments)
	at, b := history.Position{}, new(history.Block)
	b.Reset(history.Ledger, benchShard, "transactions", at)
	for n := 0; n < payments; {
		var values [][]byte
		for range min(1000, payments-n) {
			d := benchPayment(r, n, cards, from+int64(float64(n)*every))
			values = append(values, schemas.AppendDecision(nil, d))
			if n%100 == 0 {
				values = append(values, schemas.AppendLabelEntry(nil, &schemas.Label{TxID: d.Text[schemas.ID], Verdict: schemas.LabelFraud,
					Source: schemas.Chargeback, Version: 1, KnownAt: d.Tx.Time + 86_400_000, FraudType: []byte("stolen")}))
			}
			n++
		}
		f := schemas.Facts{ID: schemas.BatchID{Writer: 1, Sequence: at.Head.Sequence + 1}, Extends: at.Head, Records: uint32(len(values))}
		b.AddBatch(b.Next, until.UnixMilli(), &f, values)
		at.Head = f.ID
		if !b.Full() && n < payments {
			continue
		}
		if err := store.Write(ctx, b); err != nil {
			return fmt.Errorf("seed a history: %w", err)
		}
		at.Offset = b.Next
		b.Reset(history.Ledger, benchShard, "transactions", at)
	}
	return nil
}

// historyFeatures is how many features a measured history has of a payment.
const historyFeatures = 60

// benchCard is the token of a measured card.
func benchCard(who int) string { return fmt.Sprintf("k1.card%06x%08x", who, uint32(who)*2654435761) }

func benchPayment(r *rand.Rand, n, cards int, at int64) *schemas.Decision {
	who := r.IntN(cards)
	// Some merchants take much of what is paid.
	shop := int(float64(max(1, cards/20)) * r.Float64() * r.Float64() * r.Float64())
	d := &schemas.Decision{Place: schemas.Place{Partition: int32(n % 4), Offset: int64(n / 4), Prev: int64(n/4) - 1, Timestamp: at},
		Tx: schemas.Transaction{Time: at, Amount: 100 + r.Int64N(100_000), Status: schemas.Approved}, Bundle: 7, Prob: r.Float32() / 4, Threshold: .3}
	d.Tx.AmountBase, d.Score = d.Tx.Amount, d.Prob
	for range historyFeatures {
		d.Features = append(d.Features, r.Float32())
	}
	for f, text := range map[schemas.TextField]string{
		schemas.ID: fmt.Sprintf("past-%d", n), schemas.Card: benchCard(who), schemas.Customer: fmt.Sprintf("cust%06x", who),
		schemas.Account: fmt.Sprintf("acct%06x", who), schemas.Merchant: fmt.Sprintf("shop%06x", shop), schemas.Terminal: fmt.Sprintf("term%06x", 2*shop+who%2),
		schemas.Device: fmt.Sprintf("dev%06x", who), schemas.IP: fmt.Sprintf("10.0.%d.%d", who>>8&255, who&255),
		schemas.Currency: "EUR", schemas.Country: "DE", schemas.MCC: "5411", schemas.Channel: []string{"ecom", "pos", "atm"}[r.IntN(3)],
	} {
		d.Text[f] = []byte(text)
	}
	return d
}
