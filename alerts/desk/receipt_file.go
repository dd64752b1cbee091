package desk

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"

	"crypto/sha256"

	"github.com/weir-risk/weir/schemas"
)

// receiptJSON is a receipt as a file. Numbers come with their bits, from which a
// program has them exactly; those that JSON has no form for are null.
type receiptJSON struct {
	Alert  string            `json:"alert"`
	Ledger placeJSON         `json:"ledger"`
	Batch  batchJSON         `json:"batch"`
	Source placeJSON         `json:"source"`
	Fields map[string]string `json:"fields"`
	Time   int64             `json:"time_ms"`
	Amount int64             `json:"amount"`
	Base   int64             `json:"amount_base"`

	Outcome    string                `json:"outcome"`
	Reason     string                `json:"reason"`
	Flags      uint8                 `json:"flags"`
	Action     string                `json:"action"`
	Numbers    map[string]numberJSON `json:"numbers"`
	Bundle     string                `json:"bundle"`
	Challenger string                `json:"challenger"`
	Spec       string                `json:"spec"`
	Engine     string                `json:"engine"`
	Features   []featureJSON         `json:"features"`

	SHA256 string `json:"record_sha256"`
	// Record is the record itself, base64, an Entry of decision.proto; empty where it
	// may hold a card number.
	Record string `json:"record,omitempty"`
}

type placeJSON struct {
	Partition int32 `json:"partition"`
	Offset    int64 `json:"offset"`
}

type batchJSON struct {
	Base            int64  `json:"base"`
	Writer          string `json:"writer"`
	Sequence        uint64 `json:"sequence"`
	ExtendsWriter   string `json:"extends_writer"`
	ExtendsSequence uint64 `json:"extends_sequence"`
}

type numberJSON struct {
	Value any    `json:"value"`
	Bits  string `json:"bits"`
}

type featureJSON struct {
	Name string `json:"name"`
	numberJSON
}

func numberOf(x float32) numberJSON {
	n := numberJSON{Bits: bitsOf(x)}
	if x-x == 0 {
		n.Value = json.Number(strconv.FormatFloat(float64(x), 'g', -1, 32))
	}
	return n
}

func bitsOf(x float32) string { return fmt.Sprintf("%08x", math.Float32bits(x)) }

// receiptFile sends the record of a decision as JSON.
func (s *Server) receiptFile(w http.ResponseWriter, r *http.Request) error {
	d, err := s.decided(r)
	if err != nil {
		return err
	}
	x, f := &d.decision, &d.record.Facts
	sum := sha256.Sum256(d.record.Value)
	out := receiptJSON{Alert: string(d.item.ID), Ledger: placeJSON{d.item.Shard, d.record.Offset}, Source: placeJSON{x.Partition, x.Offset},
		Batch:  batchJSON{d.record.Base, hex64(f.ID.Writer), f.ID.Sequence, hex64(f.Extends.Writer), f.Extends.Sequence},
		Fields: make(map[string]string), Time: x.Tx.Time, Amount: x.Tx.Amount, Base: x.Tx.AmountBase,
		Outcome: x.Outcome.String(), Reason: x.Reason.String(), Flags: uint8(x.Flags), Action: x.Action.String(),
		Numbers: map[string]numberJSON{"score": numberOf(x.Score), "probability": numberOf(x.Prob), "rank": numberOf(x.Rank), "threshold": numberOf(x.Threshold),
			"review_probability": numberOf(x.ReviewProb), "challenger_score": numberOf(x.ChallengerScore)},
		Bundle: hex64(x.Bundle), Challenger: hex64(x.Challenger), Spec: hex64(x.Spec), Engine: hex64(x.Engine),
		Features: []featureJSON{}, SHA256: hex.EncodeToString(sum[:])}
	for n, text := range x.Text {
		if len(text) > 0 {
			out.Fields[schemas.TextField(n).String()] = shownText(text)
		}
	}
	out.Fields["type"], out.Fields["status"] = x.Tx.Type.String(), x.Tx.Status.String()
	about, _ := s.aboutFeatures(r.Context(), x)
	for i, v := range x.Features {
		out.Features = append(out.Features, featureJSON{about.name(i), numberOf(v)})
	}
	texts := append(slices.Clone(x.OwnText), x.Text[:]...)
	if !slices.ContainsFunc(texts, func(t []byte) bool { return shownText(t) != string(t) }) {
		out.Record = base64.StdEncoding.EncodeToString(d.record.Value)
	}
	body, err := json.MarshalIndent(&out, "", "  ")
	if err != nil {
		return fmt.Errorf("write the receipt: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Disposition", `attachment; filename="weir-receipt-`+string(d.item.ID)+`.json"`)
	_, _ = w.Write(append(body, '\n')) // where the browser is gone, nobody reads it
	return nil
}

func hex64(v uint64) string { return fmt.Sprintf("%016x", v) }
