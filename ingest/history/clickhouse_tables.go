package history

import (
	"github.com/ClickHouse/ch-go/proto"

	"github.com/weir-risk/weir/schemas"
)

type labelColumns struct {
	*columnSet
	id                  *proto.ColStr
	source, verdict     *proto.ColUInt8
	version             *proto.ColUInt32
	shard               *proto.ColInt32
	offset, known, time *proto.ColInt64
	fraudType, selected textColumn
	selectedProb        *proto.ColFloat32
	entity              [schemas.NumLabelEntities]*proto.ColStr
}

func newLabelColumns() labelColumns {
	c := labelColumns{columnSet: &columnSet{}, id: new(proto.ColStr), source: new(proto.ColUInt8), verdict: new(proto.ColUInt8),
		version: new(proto.ColUInt32), shard: new(proto.ColInt32), offset: new(proto.ColInt64), known: new(proto.ColInt64),
		fraudType: newLowText(), selected: newLowText(), selectedProb: new(proto.ColFloat32), time: new(proto.ColInt64)}
	c.add("tx_id", c.id)
	c.add("source", c.source)
	c.add("version", c.version)
	c.add("shard", c.shard)
	c.add("ledger_offset", c.offset)
	c.add("known_ms", c.known)
	c.add("verdict", c.verdict)
	c.add("fraud_type", c.fraudType)
	c.add("selected", c.selected)
	c.add("selected_probability", c.selectedProb)
	c.add("time_ms", c.time)
	for i, f := range schemas.LabelEntities {
		c.entity[i] = new(proto.ColStr)
		c.add(f.String(), c.entity[i])
	}
	return c
}

func (c *labelColumns) append(l *schemas.Label, shard int32, offset int64) {
	c.id.AppendBytes(l.TxID)
	c.source.Append(uint8(l.Source))
	c.version.Append(l.Version)
	c.shard.Append(shard)
	c.offset.Append(offset)
	c.known.Append(l.KnownAt)
	c.verdict.Append(uint8(l.Verdict))
	c.fraudType.AppendBytes(l.FraudType)
	c.selected.AppendBytes(l.Selected)
	c.selectedProb.Append(l.SelectedProb)
	c.time.Append(l.Time)
	for i, text := range l.Entity {
		c.entity[i].AppendBytes(text)
	}
}

type batchColumns struct {
	*columnSet
	shard                          *proto.ColInt32
	base, records, written         *proto.ColInt64
	writer, sequence               *proto.ColUInt64
	extendsWriter, extendsSequence *proto.ColUInt64
	bundle, spec, engine           *proto.ColFixedStr
	facts                          *proto.ColStr
}

func newBatchColumns() batchColumns {
	hash := func() *proto.ColFixedStr { return &proto.ColFixedStr{Size: 32} }
	c := batchColumns{columnSet: &columnSet{}, shard: new(proto.ColInt32), base: new(proto.ColInt64), records: new(proto.ColInt64),
		written: new(proto.ColInt64), writer: new(proto.ColUInt64), sequence: new(proto.ColUInt64), extendsWriter: new(proto.ColUInt64),
		extendsSequence: new(proto.ColUInt64), bundle: hash(), spec: hash(), engine: hash(), facts: new(proto.ColStr)}
	c.add("shard", c.shard)
	c.add("base", c.base)
	c.add("records", c.records)
	c.add("written_ms", c.written)
	c.add("writer", c.writer)
	c.add("sequence", c.sequence)
	c.add("extends_writer", c.extendsWriter)
	c.add("extends_sequence", c.extendsSequence)
	c.add("bundle", c.bundle)
	c.add("spec", c.spec)
	c.add("engine", c.engine)
	c.add("facts", c.facts)
	return c
}

func (c *batchColumns) append(b *Block, in *blockBatch) {
	c.shard.Append(b.Partition)
	c.base.Append(in.base)
	c.records.Append(int64(in.records))
	c.written.Append(in.timestamp)
	c.writer.Append(in.id.Writer)
	c.sequence.Append(in.id.Sequence)
	c.extendsWriter.Append(in.extends.Writer)
	c.extendsSequence.Append(in.extends.Sequence)
	c.bundle.Append(in.bundle[:])
	c.spec.Append(in.spec[:])
	c.engine.Append(in.engine[:])
	c.facts.AppendBytes(b.bytes(in.packed))
}

// topicColumns are the columns of alerts and of dispositions.
type topicColumns struct {
	*columnSet
	id, value       *proto.ColStr
	part            *proto.ColInt32
	offset, written *proto.ColInt64
}

func newTopicColumns() topicColumns {
	c := topicColumns{&columnSet{}, new(proto.ColStr), new(proto.ColStr), new(proto.ColInt32), new(proto.ColInt64), new(proto.ColInt64)}
	c.add("id", c.id)
	c.add("part", c.part)
	c.add("topic_offset", c.offset)
	c.add("written_ms", c.written)
	c.add("value", c.value)
	return c
}

func (c *topicColumns) append(b *Block, r *blockRecord) {
	c.id.AppendBytes(b.bytes(r.key))
	c.part.Append(b.Partition)
	c.offset.Append(r.offset)
	c.written.Append(r.timestamp)
	c.value.AppendBytes(b.bytes(r.value))
}
