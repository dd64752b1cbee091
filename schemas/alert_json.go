package schemas

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// Alert is what a record of the topic alerts says: the decision that an analyst
// should see, with its reasons.
type Alert struct {
	ID         []byte
	Shard      int32 // partition of the ledger
	Offset     int64 // of the decision in it
	Source     Place // partition and offset of the transaction; no more of it
	Tenant     []byte
	Verdict    Verdict
	Action     Action
	Tx         Transaction
	Text       [NumText][]byte
	Score      float32 // NaN where the alert has none, as the rest of these
	Prob       float32
	Rank       float32
	Threshold  float32
	ReviewProb float32 // 0 unless a share below the threshold is looked at
	Bundle     uint64  // prefix of its hash; 0 where no model decided
	Reasons    []AlertReason
	Quick      bool // the reasons are an estimate
}

// alertJSON are the parts of an alert that are not flat texts.
type alertJSON struct {
	ID                                    *string
	Ledger, Source                        *struct{ Partition, Offset *int64 }
	Tenant                                string
	Outcome, Action, Reason               *string
	Time, Type, Status                    *string
	Amount                                *int64
	AmountBase                            *int64   `json:"amount_base"`
	Score, Probability, Rank, Threshold   *float32 // null is no number
	ReviewProbability                     *float32 `json:"review_probability"`
	Bundle                                *string
	TxID                                  *string `json:"tx_id"`
	OriginalID                            string  `json:"original_id"`
	Currency, Card, Customer, Account     string
	Counterparty, Merchant, MCC, Terminal string
	Country, Channel                      string
	EntryMode                             string `json:"entry_mode"`
	Device, IP                            string
	Reasons                               []alertReasonJSON
	ReasonsQuick                          bool `json:"reasons_quick"`
}

type alertReasonJSON struct {
	Group *string
	Logit *float32
	Words []string
}

// ParseAlert reads an alert from its JSON form (alert.schema.json) into a, which
// shares nothing with value. Errors wrap [ErrJSON] and name the key.
func ParseAlert(value []byte, a *Alert) error {
	*a = Alert{}
	if !utf8.Valid(value) {
		return fmt.Errorf("%w: broken UTF-8", ErrJSON)
	}
	var j alertJSON
	d := json.NewDecoder(bytes.NewReader(value))
	if err := d.Decode(&j); err != nil {
		return fmt.Errorf("%w: %w", ErrJSON, err)
	}
	if _, err := d.Token(); err == nil {
		return fmt.Errorf("%w: bytes after the object", ErrJSON)
	}
	for _, f := range []struct {
		key     string
		missing bool
	}{
		{"id", j.ID == nil}, {"ledger", j.Ledger == nil || j.Ledger.Partition == nil || j.Ledger.Offset == nil},
		{"source", j.Source == nil || j.Source.Partition == nil || j.Source.Offset == nil},
		{"outcome", j.Outcome == nil}, {"action", j.Action == nil}, {"reason", j.Reason == nil},
		{"time", j.Time == nil}, {"type", j.Type == nil}, {"status", j.Status == nil},
		{"amount", j.Amount == nil}, {"amount_base", j.AmountBase == nil}, {"bundle", j.Bundle == nil}, {"tx_id", j.TxID == nil},
	} {
		if f.missing {
			return fmt.Errorf("%w: %s is missing", ErrJSON, f.key)
		}
	}
	if err := a.take(&j); err != nil {
		return err
	}
	if id := AppendAlertID(nil, a.Shard, a.Offset); !bytes.Equal(id, a.ID) {
		return fmt.Errorf("%w: id: %.40q is not the alert of ledger partition %d offset %d", ErrJSON, a.ID, a.Shard, a.Offset)
	}
	return nil
}

// take takes what was read.
func (a *Alert) take(j *alertJSON) (err error) {
	if *j.Ledger.Partition < 0 || *j.Ledger.Partition > math.MaxInt32 || *j.Source.Partition < 0 || *j.Source.Partition > math.MaxInt32 {
		return fmt.Errorf("%w: a partition is from 0 to %d", ErrJSON, math.MaxInt32)
	}
	a.ID, a.Tenant, a.Quick = []byte(*j.ID), []byte(j.Tenant), j.ReasonsQuick
	a.Shard, a.Offset = int32(*j.Ledger.Partition), *j.Ledger.Offset
	a.Source.Partition, a.Source.Offset = int32(*j.Source.Partition), *j.Source.Offset
	a.Tx.Amount, a.Tx.AmountBase = *j.Amount, *j.AmountBase
	number := func(x *float32) float32 {
		if x == nil {
			return float32(math.NaN())
		}
		return *x
	}
	a.Score, a.Prob, a.Rank = number(j.Score), number(j.Probability), number(j.Rank)
	a.Threshold, a.ReviewProb = number(j.Threshold), number(j.ReviewProbability)
	for i, text := range []string{*j.TxID, j.OriginalID, j.Currency, j.Card, j.Customer, j.Account, j.Counterparty,
		j.Merchant, j.MCC, j.Terminal, j.Country, j.Channel, j.EntryMode, j.Device, j.IP} {
		if text != "" {
			a.Text[i] = []byte(text)
		}
	}
	for _, r := range j.Reasons {
		if r.Group == nil || r.Logit == nil {
			return fmt.Errorf("%w: reasons: group or logit is missing", ErrJSON)
		}
		one := AlertReason{Group: []byte(*r.Group), Logit: *r.Logit}
		for _, w := range r.Words {
			one.Words = append(one.Words, []byte(w))
		}
		a.Reasons = append(a.Reasons, one)
	}
	if a.Tx.Time, err = timeOf([]byte(*j.Time)); err != nil {
		return fmt.Errorf("%w: time: %.40q is not a time of RFC 3339", ErrJSON, *j.Time)
	}
	if a.Bundle, err = strconv.ParseUint(*j.Bundle, 16, 64); err != nil || len(*j.Bundle) != 16 {
		return fmt.Errorf("%w: bundle: %.40q is not 16 hexadecimal digits", ErrJSON, *j.Bundle)
	}
	return a.takeNames(j)
}

// takeNames takes what has one of a few names.
func (a *Alert) takeNames(j *alertJSON) error {
	var ok [5]bool
	a.Verdict.Outcome, ok[0] = parseName[Outcome](outcomeNames[:], *j.Outcome)
	a.Action, ok[1] = parseName[Action](actionNames[:], *j.Action)
	a.Verdict.Reason, ok[2] = ParseReason(*j.Reason)
	a.Tx.Type, ok[3] = ParseTxType(*j.Type)
	a.Tx.Status, ok[4] = ParseStatus(*j.Status)
	if i := slices.Index(ok[:], false); i >= 0 {
		keys, texts := []string{"outcome", "action", "reason", "type", "status"}, []*string{j.Outcome, j.Action, j.Reason, j.Type, j.Status}
		return fmt.Errorf("%w: %s: %.40q is not known", ErrJSON, keys[i], *texts[i])
	}
	return nil
}
