package history

import (
	"github.com/ClickHouse/ch-go/proto"

	"github.com/weir-risk/weir/schemas"
)

// columnSet is the columns of one table, to be written or read.
type columnSet struct {
	input   proto.Input
	results proto.Results
}

func (s *columnSet) add(name string, c proto.Column) {
	s.input = append(s.input, proto.InputColumn{Name: name, Data: c})
	s.results = append(s.results, proto.ResultColumn{Name: name, Data: c})
}

// A textColumn is a column of texts, plain or with a dictionary.
type textColumn interface {
	proto.Column
	AppendBytes(b []byte)
	RowBytes(i int) []byte
}

// lowText is a column of few different texts.
type lowText struct {
	proto.ColLowCardinality[string]
	known map[string]string // what was seen, so that no text is made twice
}

// knownTexts bounds what a column remembers.
const knownTexts = 1 << 16

func newLowText() textColumn {
	return &lowText{ColLowCardinality: *new(proto.ColStr).LowCardinality(), known: make(map[string]string)}
}

func (c *lowText) AppendBytes(b []byte) {
	text, ok := c.known[string(b)]
	if !ok {
		if len(c.known) >= knownTexts {
			clear(c.known)
		}
		text = string(b)
		c.known[text] = text
	}
	c.Append(text)
}

func (c *lowText) RowBytes(i int) []byte { return []byte(c.Row(i)) }

// decisionColumns are the columns of decisions.
type decisionColumns struct {
	columnSet
	tenant, source                   textColumn
	event, ledger                    proto.ColInt64
	partition, shard                 proto.ColInt32
	offset, prev, timestamp          proto.ColInt64
	time, amount, amountBase         proto.ColInt64
	kind, status, outcome            proto.ColUInt8
	flags, action, arithmetic        proto.ColUInt8
	reason                           proto.ColUInt16
	text                             [schemas.NumText]textColumn
	prevCard, raw                    proto.ColStr
	ownText                          textLists
	own                              *proto.ColArr[float64]
	features                         *proto.ColArr[float32]
	score, prob, threshold           proto.ColFloat32
	rank, reviewProb                 proto.ColFloat32
	challengerScore                  proto.ColFloat32
	bundle, spec, engine, challenger proto.ColUInt64
}

// textLists is a column of lists of texts.
type textLists struct {
	*proto.ColArr[string]
	data *proto.ColStr
}

func (c *textLists) append(list [][]byte) {
	for _, t := range list {
		c.data.AppendBytes(t)
	}
	c.Offsets.Append(uint64(c.data.Rows()))
}

func (c *textLists) row(i int, dst [][]byte) [][]byte {
	from := 0
	if i > 0 {
		from = int(c.Offsets[i-1])
	}
	for k := from; k < int(c.Offsets[i]); k++ {
		dst = append(dst, c.data.RowBytes(k))
	}
	return dst
}

// lowNames are the columns of few different texts.
var lowNames = map[string]bool{"tenant": true, "source": true, "currency": true, "mcc": true, "country": true, "channel": true, "entry_mode": true}

// newDecisionColumns returns the columns of decisions; low makes those of few
// different texts.
func newDecisionColumns(low func() textColumn) *decisionColumns {
	data := new(proto.ColStr)
	c := &decisionColumns{tenant: low(), source: low(), own: proto.NewArrFloat64(), features: proto.NewArrFloat32(),
		ownText: textLists{ColArr: data.Array(), data: data}}
	for f := range c.text {
		c.text[f] = new(proto.ColStr)
		if lowNames[schemas.TextField(f).String()] {
			c.text[f] = low()
		}
	}
	list := []proto.Column{c.tenant, &c.event, c.source, &c.partition, &c.offset, &c.prev, &c.timestamp, &c.shard, &c.ledger,
		&c.time, &c.amount, &c.amountBase, &c.kind, &c.status, &c.outcome, &c.reason, &c.flags, &c.action}
	for _, t := range c.text {
		list = append(list, t)
	}
	list = append(list, &c.prevCard, c.ownText.ColArr, c.own, c.features, &c.score, &c.prob, &c.threshold, &c.rank, &c.reviewProb,
		&c.arithmetic, &c.bundle, &c.spec, &c.engine, &c.challenger, &c.challengerScore, &c.raw)
	for i, name := range decisionNames {
		c.add(name, list[i])
	}
	return c
}

func (c *decisionColumns) append(d *schemas.Decision, source []byte, shard int32, r *row) {
	c.tenant.AppendBytes(d.Tenant)
	c.event.Append(eventMs(d))
	c.source.AppendBytes(source)
	c.partition.Append(d.Partition)
	c.offset.Append(d.Offset)
	c.prev.Append(d.Prev)
	c.timestamp.Append(d.Timestamp)
	c.shard.Append(shard)
	c.ledger.Append(r.offset)
	c.time.Append(d.Tx.Time)
	c.amount.Append(d.Tx.Amount)
	c.amountBase.Append(d.Tx.AmountBase)
	c.kind.Append(uint8(d.Tx.Type))
	c.status.Append(uint8(d.Tx.Status))
	c.outcome.Append(uint8(d.Outcome))
	c.reason.Append(uint16(d.Reason))
	c.flags.Append(uint8(d.Flags))
	c.action.Append(uint8(d.Action))
	for f, t := range d.Text {
		c.text[f].AppendBytes(t)
	}
	c.prevCard.AppendBytes(d.PrevCard)
	c.ownText.append(d.OwnText)
	c.own.Append(d.Own)
	c.features.Append(d.Features)
	c.score.Append(d.Score)
	c.prob.Append(d.Prob)
	c.threshold.Append(d.Threshold)
	c.rank.Append(d.Rank)
	c.reviewProb.Append(d.ReviewProb)
	c.arithmetic.Append(uint8(d.Arithmetic))
	c.bundle.Append(d.Bundle)
	c.spec.Append(d.Spec)
	c.engine.Append(d.Engine)
	c.challenger.Append(d.Challenger)
	c.challengerScore.Append(d.ChallengerScore)
	c.raw.AppendBytes(r.raw)
}

// decision fills d with row i; its slices alias the columns.
func (c *decisionColumns) decision(i int, d *schemas.Decision) {
	d.Place = schemas.Place{Partition: c.partition[i], Offset: c.offset[i], Prev: c.prev[i], Timestamp: c.timestamp[i]}
	d.Verdict = schemas.Verdict{Outcome: schemas.Outcome(c.outcome[i]), Reason: schemas.Reason(c.reason[i]), Flags: schemas.Flags(c.flags[i])}
	d.Tx = schemas.Transaction{Time: c.time[i], Amount: c.amount[i], AmountBase: c.amountBase[i],
		Type: schemas.TxType(c.kind[i]), Status: schemas.Status(c.status[i])}
	d.Tenant = c.tenant.RowBytes(i)
	for f := range d.Text {
		d.Text[f] = c.text[f].RowBytes(i)
	}
	d.PrevCard = c.prevCard.RowBytes(i)
	d.OwnText = c.ownText.row(i, d.OwnText[:0])
	d.Own = c.own.RowAppend(i, d.Own[:0])
	d.Features = c.features.RowAppend(i, d.Features[:0])
	d.Score, d.Prob, d.Threshold, d.Rank = c.score[i], c.prob[i], c.threshold[i], c.rank[i]
	d.ReviewProb, d.ChallengerScore = c.reviewProb[i], c.challengerScore[i]
	d.Action, d.Arithmetic = schemas.Action(c.action[i]), schemas.Arithmetic(c.arithmetic[i])
	d.Bundle, d.Spec, d.Engine, d.Challenger = c.bundle[i], c.spec[i], c.engine[i], c.challenger[i]
}

// ledgerColumns are the columns of the other tables of the ledger.
type ledgerColumns struct {
	entries entryColumns
	labels  labelColumns
	batches batchColumns
}

func newLedgerColumns() ledgerColumns {
	return ledgerColumns{entries: newEntryColumns(), labels: newLabelColumns(), batches: newBatchColumns()}
}

type entryColumns struct {
	*columnSet
	shard  *proto.ColInt32
	offset *proto.ColInt64
	kind   *proto.ColUInt8
	value  *proto.ColStr
}

func newEntryColumns() entryColumns {
	c := entryColumns{&columnSet{}, new(proto.ColInt32), new(proto.ColInt64), new(proto.ColUInt8), new(proto.ColStr)}
	c.add("shard", c.shard)
	c.add("ledger_offset", c.offset)
	c.add("kind", c.kind)
	c.add("value", c.value)
	return c
}

func (c *entryColumns) append(shard int32, r *row) {
	c.shard.Append(shard)
	c.offset.Append(r.offset)
	c.kind.Append(uint8(r.entry.Kind))
	c.value.AppendBytes(r.value)
}
