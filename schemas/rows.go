package schemas

// CopyRow appends row i of src, texts and all, to b; both must have the same
// widths. The texts are copied into b's arena.
func (b *Batch) CopyRow(src *Batch, i int) {
	b.Tx = append(b.Tx, src.Tx[i])
	b.Place = append(b.Place, src.Place[i])
	b.Verdict = append(b.Verdict, src.Verdict[i])
	for _, s := range src.Text[i*src.TextWidth : (i+1)*src.TextWidth] {
		b.Text = append(b.Text, b.copySpan(src, s))
	}
	b.Number = append(b.Number, src.Number[i*src.NumberWidth:(i+1)*src.NumberWidth]...)
	b.PrevCard = append(b.PrevCard, b.copySpan(src, src.PrevCard[i]))
	b.Key = append(b.Key, b.copySpan(src, src.Key[i]))
}

func (b *Batch) copySpan(src *Batch, s Span) Span {
	if s.Len == 0 {
		return Span{}
	}
	return b.Intern(src.Arena[s.Off : s.Off+s.Len])
}

// Slice makes dst a view of rows i to j of b. It shares b's memory: what is
// written through the view is written in b, and the view must not be added to.
func (b *Batch) Slice(dst *Batch, i, j int) {
	*dst = Batch{
		Tx: b.Tx[i:j:j], Place: b.Place[i:j:j], Verdict: b.Verdict[i:j:j],
		Text: b.Text[i*b.TextWidth : j*b.TextWidth], TextWidth: b.TextWidth,
		Number: b.Number[i*b.NumberWidth : j*b.NumberWidth], NumberWidth: b.NumberWidth,
		PrevCard: b.PrevCard[i:j:j], Key: b.Key[i:j:j], Arena: b.Arena,
	}
}

// AddDecision appends the transaction of d, with its place and verdict, as a
// row of b.
func (b *Batch) AddDecision(d *Decision) {
	i := b.Add(d.Place)
	b.Tx[i], b.Verdict[i] = d.Tx, d.Verdict
	for f, text := range d.Text {
		if len(text) > 0 {
			b.SetBytes(i, TextField(f), text)
		}
	}
	for k, text := range d.OwnText {
		if len(text) > 0 && int(NumText)+k < b.TextWidth {
			b.SetBytes(i, NumText+TextField(k), text)
		}
	}
	copy(b.Number[i*b.NumberWidth:], d.Own)
	if len(d.PrevCard) > 0 {
		b.PrevCard[i] = b.Intern(d.PrevCard)
	}
}

// Decision fills d with row i of b: place, verdict, transaction and texts. The
// slices alias b. The rest of d is left as it is.
func (b *Batch) Decision(i int, d *Decision) {
	d.Place, d.Verdict, d.Tx = b.Place[i], b.Verdict[i], b.Tx[i]
	for f := range NumText {
		d.Text[f] = b.Bytes(i, f)
	}
	d.OwnText = d.OwnText[:0]
	for f := NumText; int(f) < b.TextWidth; f++ {
		d.OwnText = append(d.OwnText, b.Bytes(i, f))
	}
	d.Own = b.Number[i*b.NumberWidth : (i+1)*b.NumberWidth]
	p := b.PrevCard[i]
	d.PrevCard = b.Arena[p.Off : p.Off+p.Len]
}
