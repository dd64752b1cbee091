package history

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/ClickHouse/ch-go"
	"github.com/ClickHouse/ch-go/proto"

	"github.com/weir-risk/weir/schemas"
)

// Batches implements [Reader].
func (s *clickhouseStore) Batches(ctx context.Context, shard int32, from int64, fn func(*Batch) error) error {
	return walk(ctx, s, shard, from, fn)
}

// read runs a query over a connection of its own and calls fn with every block
// of columns that comes.
func (s *clickhouseStore) read(ctx context.Context, text string, results proto.Results, fn func(rows int) error) error {
	conn, err := ch.Dial(ctx, s.options)
	if err != nil {
		return err
	}
	defer conn.Close()
	var own error // an error of fn comes back as it is
	err = conn.Do(ctx, ch.Query{Body: s.sql(text), Result: results,
		OnResult: func(_ context.Context, block proto.Block) error {
			if block.Rows > 0 {
				own = fn(block.Rows)
			}
			return own
		},
		Settings: []ch.Setting{
			{Key: "max_block_size", Value: strconv.Itoa(2 * chunkRows)},
			// A history is larger than memory. Joined this way decisions stay in
			// the order in which they lie (1 million vectors of 100 features in
			// under 80 MB, where sorting took over 500 MB and twice as long), and
			// labels are what the server holds. Where it sorts all the same, an
			// older one, it does so on its disk.
			{Key: "join_algorithm", Value: "hash"},
			{Key: "max_bytes_ratio_before_external_join", Value: "0"},
			{Key: "read_in_order_use_buffering", Value: "0"},
			{Key: "max_bytes_before_external_sort", Value: strconv.Itoa(512 << 20)},
			{Key: "max_bytes_before_external_group_by", Value: strconv.Itoa(512 << 20)},
		}})
	if own != nil {
		return own
	}
	return err
}

func (s *clickhouseStore) readBatches(ctx context.Context, w *window, from, upto int64) error {
	var base, records, written proto.ColInt64
	var facts proto.ColStr
	last := int64(-1)
	return s.read(ctx, fmt.Sprintf(`SELECT base, records, written_ms, facts FROM {db}.batches
		WHERE shard = %d AND base >= %d AND base < %d ORDER BY base LIMIT 1 BY base LIMIT %d`, w.shard, from, upto, windowBatches),
		proto.Results{{Name: "base", Data: &base}, {Name: "records", Data: &records}, {Name: "written_ms", Data: &written}, {Name: "facts", Data: &facts}},
		func(rows int) error {
			for i := range rows {
				if base[i] > last {
					w.batches = append(w.batches, windowBatch{base: base[i], records: records[i], timestamp: written[i],
						packed: append([]byte(nil), facts.RowBytes(i)...)})
				}
				last = base[i]
			}
			return nil
		})
}

func (s *clickhouseStore) readRecords(ctx context.Context, w *window) error {
	in := fmt.Sprintf(" WHERE shard = %d AND ledger_offset >= %d AND ledger_offset < %d", w.shard, w.from, w.next)
	var offset proto.ColInt64
	var value proto.ColStr
	err := s.read(ctx, "SELECT ledger_offset, value FROM {db}.entries"+in, proto.Results{{Name: "ledger_offset", Data: &offset}, {Name: "value", Data: &value}},
		func(rows int) error {
			for i := range rows {
				w.put(offset[i], value.RowBytes(i))
			}
			return nil
		})
	if err != nil {
		return err
	}
	return s.readDecisions(ctx, in, w.putDecision)
}

// rowColumns are the columns that Rows reads.
type rowColumns struct {
	columnSet
	tenant                       *proto.ColLowCardinality[string]
	event, amountBase, offset    proto.ColInt64
	partition                    proto.ColInt32
	id, card, customer           proto.ColStr
	action, verdict, labelSource proto.ColUInt8
	bundle, challenger           proto.ColUInt64
	score, prob, reviewProb      proto.ColFloat32
	challengerScore              proto.ColFloat32
	features                     *proto.ColArr[float32]
	known                        proto.ColInt64
	chosen                       proto.ColFloat32
	own                          proto.ColUInt8
	last                         [3]int64 // the place of the last row that was taken
	any                          bool
}

func newRowColumns() *rowColumns {
	c := &rowColumns{tenant: new(proto.ColStr).LowCardinality(), features: proto.NewArrFloat32()}
	c.add("tenant", c.tenant)
	c.add("event_ms", &c.event)
	c.add("amount_base", &c.amountBase)
	c.add("source_partition", &c.partition)
	c.add("source_offset", &c.offset)
	c.add("id", &c.id)
	c.add("card", &c.card)
	c.add("customer", &c.customer)
	c.add("action", &c.action)
	c.add("bundle", &c.bundle)
	c.add("score", &c.score)
	c.add("probability", &c.prob)
	c.add("review_probability", &c.reviewProb)
	c.add("challenger", &c.challenger)
	c.add("challenger_score", &c.challengerScore)
	c.add("features", c.features)
	c.add("label_verdict", &c.verdict)
	c.add("label_source", &c.labelSource)
	c.add("label_known_ms", &c.known)
	c.add("label_chosen", &c.chosen)
	c.add("label_own", &c.own)
	return c
}

// into appends row i to a chunk, unless it is a second copy of the row before:
// the order puts copies side by side.
func (c *rowColumns) into(k *Chunk, i int) {
	place := [3]int64{c.event[i], int64(c.partition[i]), c.offset[i]}
	if c.any && place == c.last {
		return
	}
	c.last, c.any = place, true
	k.Tenant, k.Time, k.AmountBase = append(k.Tenant, c.tenant.Row(i)), append(k.Time, c.event[i]), append(k.AmountBase, c.amountBase[i])
	k.ID, k.Payer = append(k.ID, fnv1a(c.id.RowBytes(i))), append(k.Payer, payer(c.card.RowBytes(i), c.customer.RowBytes(i)))
	k.Action, k.Bundle = append(k.Action, schemas.Action(c.action[i])), append(k.Bundle, c.bundle[i])
	k.Score, k.Prob, k.ReviewProb = append(k.Score, c.score[i]), append(k.Prob, c.prob[i]), append(k.ReviewProb, c.reviewProb[i])
	k.Challenger, k.ChallengerScore = append(k.Challenger, c.challenger[i]), append(k.ChallengerScore, c.challengerScore[i])
	k.addLabel(&rowLabel{schemas.LabelVerdict(c.verdict[i]), schemas.LabelSource(c.labelSource[i]), c.known[i], c.chosen[i], c.own[i] != 0})
	k.x = c.features.RowAppend(i, k.x)
	k.ends = append(k.ends, len(k.x))
}

// Rows implements [Reader].
func (s *clickhouseStore) Rows(ctx context.Context, q RowQuery, fn func(*Chunk) error) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	c := newRowColumns()
	var k Chunk
	err := s.read(ctx, clickhouseRowsQuery(&q), c.results, func(rows int) error {
		for i := range rows {
			if c.into(&k, i); k.Len() >= chunkRows {
				if err := fn(&k); err != nil {
					return err
				}
				k.reset()
			}
		}
		return nil
	})
	if err == nil && k.Len() > 0 {
		err = fn(&k)
	}
	if err != nil {
		return fmt.Errorf("read vectors: %w", err)
	}
	return nil
}

// clickhouseRowsQuery returns the query of Rows; its labels are chosen as
// sqliteRowsQuery says. Decisions are sorted by their table's key, in which they
// lie, so that the server merges and does not sort.
func clickhouseRowsQuery(q *RowQuery) string {
	strength := "0"
	if len(q.Sources) > 0 {
		list := make([]string, len(q.Sources))
		for i, s := range q.Sources {
			list[i] = strconv.Itoa(int(s))
		}
		strength = "indexOf([" + strings.Join(list, ",") + "], source)"
	}
	where := fmt.Sprintf("event_ms >= %d AND outcome IN (0, 1) AND notEmpty(features)", q.From)
	if q.until() != math.MaxInt64 {
		where += fmt.Sprintf(" AND event_ms < %d", q.To)
	}
	if q.Spec != 0 {
		where += fmt.Sprintf(" AND spec = %d", q.Spec)
	}
	if q.Tenant != "" {
		where += " AND tenant = " + quote(q.Tenant)
	}
	features := "d.features"
	if q.Bare {
		features = "emptyArrayFloat32()"
	}
	return `SELECT d.tenant AS tenant, d.event_ms AS event_ms, d.amount_base AS amount_base, d.source_partition AS source_partition,
			d.source_offset AS source_offset, d.id AS id, d.card AS card, d.customer AS customer, d.action AS action, d.bundle AS bundle, d.score AS score,
			d.probability AS probability, d.review_probability AS review_probability,
			d.challenger AS challenger, d.challenger_score AS challenger_score, ` + features + ` AS features,
			tupleElement(l.label, 1) AS label_verdict, tupleElement(l.label, 2) AS label_source, tupleElement(l.label, 3) AS label_known_ms,
			tupleElement(l.label, 4) AS label_chosen, l.own AS label_own
		FROM (SELECT * FROM {db}.decisions WHERE ` + where + `) AS d
		LEFT ANY JOIN (
			SELECT tx_id, argMin((newest.1, source, newest.2, newest.3), strength) AS label, max(NOT newest.4) AS own FROM (
				SELECT tx_id, source, ` + strength + ` AS strength, argMax((verdict, known_ms, ` + chosenWith + `, ` + lookedFor + `), (version, -ledger_offset)) AS newest
				FROM {db}.labels WHERE known_ms <= ` + strconv.FormatInt(q.AsOf, 10) + ` AND version > 0 AND strength > 0
				GROUP BY tx_id, source)
			WHERE newest.1 != 0 GROUP BY tx_id) AS l ON d.id = l.tx_id
		ORDER BY d.tenant, d.event_ms, d.source, d.source_partition, d.source_offset`
}

// quote writes a text as a literal of SQL.
func quote(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
}
