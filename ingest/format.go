package ingest

import (
	"context"

	"github.com/weir-risk/weir/features/spec"
	"github.com/weir-risk/weir/ingest/decode"
	"github.com/weir-risk/weir/ingest/decode/wireformat"
	"github.com/weir-risk/weir/schemas"
)

// A rowReader decodes transactions in the format of their topic. It belongs to one
// goroutine.
type rowReader struct {
	decoder *decode.Decoder
	wire    *wireformat.Reader // nil where they are JSON
}

func newRowReader(s *spec.Spec, tokens *decode.Tokens, w *wireformat.Schemas) rowReader {
	r := rowReader{decoder: decode.New(s, decode.Options{Tokens: tokens})}
	if w != nil {
		r.wire = wireformat.NewReader(w, s)
	}
	return r
}

// read decodes a record into row i of b, as [decode.Decoder.DecodeKeyed] does. An
// error says that the schema registry gave no answer; the row is then as it was.
func (r *rowReader) read(ctx context.Context, b *schemas.Batch, i int, key, value []byte) (schemas.Reason, error) {
	if r.wire != nil {
		text, reason, err := r.wire.JSON(ctx, value)
		switch {
		case err != nil:
			return schemas.NoReason, err
		case reason != schemas.NoReason:
			return r.decoder.Refuse(b, i, key, reason), nil
		}
		value = text
	}
	return r.decoder.DecodeKeyed(b, i, key, value), nil
}
