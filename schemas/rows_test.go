package schemas

import (
	"math"
	"testing"
)

func TestBatchRowsSurviveCopyDecisionAndSlice(t *testing.T) {
	var a, b, c, view Batch
	a.Reset(1, 1)
	for n := range 3 {
		i := a.Add(Place{Partition: 2, Offset: int64(10 + n), Prev: int64(9 + n), Timestamp: 5})
		a.Tx[i] = Transaction{Time: int64(n), Amount: 7, AmountBase: 8, Type: Refund, Status: Declined}
		a.SetBytes(i, ID, []byte{'t', byte('0' + n)})
		a.SetBytes(i, NumText, []byte("own"))
		if n == 1 {
			a.Number[i] = 1.5
			a.PrevCard[i] = a.Intern([]byte("old"))
		}
	}
	b.Reset(1, 1)
	for i := range 3 {
		b.CopyRow(&a, i)
	}
	c.Reset(1, 1)
	var d Decision
	for i := range 3 {
		b.Decision(i, &d)
		c.AddDecision(&d)
	}
	c.Slice(&view, 1, 3)
	for i := range 2 {
		var want, got Decision
		a.Decision(i+1, &want)
		view.Decision(i, &got)
		if string(want.Text[ID]) != string(got.Text[ID]) || string(want.OwnText[0]) != string(got.OwnText[0]) ||
			want.Place != got.Place || want.Tx != got.Tx || string(want.PrevCard) != string(got.PrevCard) ||
			math.Float64bits(want.Own[0]) != math.Float64bits(got.Own[0]) {
			t.Fatalf("row %d: want %+v, got %+v", i+1, want, got)
		}
	}
	if view.Verdict[0].Outcome = Rejected; c.Verdict[1].Outcome != Rejected {
		t.Fatal("a view does not share the memory of its batch")
	}
}
