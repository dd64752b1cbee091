package simulate

// item is something due at a time. Among items of one time the smaller tie
// comes first, so that the order never depends on how the heap was filled.
type item[T any] struct {
	at  int64 // ms since the Unix epoch
	tie uint64
	v   T
}

func (a *item[T]) less(b *item[T]) bool {
	return a.at < b.at || a.at == b.at && a.tie < b.tie
}

// queue is a heap of four children a node: half as deep as a binary one, and a
// node's children share a cache line or two.
type queue[T any] struct{ items []item[T] }

// due returns the time of the first item, or never.
func (q *queue[T]) due() int64 {
	if len(q.items) == 0 {
		return never
	}
	return q.items[0].at
}

func (q *queue[T]) push(at int64, tie uint64, v T) {
	q.items = append(q.items, item[T]{at, tie, v})
	i := len(q.items) - 1
	for i > 0 {
		up := (i - 1) / 4
		if !q.items[i].less(&q.items[up]) {
			return
		}
		q.items[i], q.items[up] = q.items[up], q.items[i]
		i = up
	}
}

// pop removes the first item into v.
func (q *queue[T]) pop(v *T) {
	*v = q.items[0].v
	last := len(q.items) - 1
	q.items[0] = q.items[last]
	q.items = q.items[:last]
	if last > 0 {
		q.sink(0)
	}
}

func (q *queue[T]) sink(i int) {
	list := q.items
	moved := list[i]
	for {
		first := 4*i + 1
		if first >= len(list) {
			break
		}
		least := first
		for j := first + 1; j < min(first+4, len(list)); j++ {
			if list[j].less(&list[least]) {
				least = j
			}
		}
		if !list[least].less(&moved) {
			break
		}
		list[i] = list[least]
		i = least
	}
	list[i] = moved
}

// agenda is a heap of customers, each with his next payment: the time in ms
// since the bank's start in the upper bits, who below. Eight bytes each keep the
// four children of a node on one cache line, which makes a
// bank of a million 1.4 times as fast.
type agenda []uint64

// whoBits are the lower bits of an entry; 40 bits of ms are left: 34 years.
const whoBits = 24

func entry(ms int64, who uint32) uint64 { return uint64(ms)<<whoBits | uint64(who) }

// first returns the earliest payment.
func (a agenda) first() (ms int64, who uint32) {
	return int64(a[0] >> whoBits), uint32(a[0] & (1<<whoBits - 1))
}

// order makes a heap of entries that were put in one by one.
func (a agenda) order() {
	for i := len(a) - 1; i >= 0; i-- {
		a.sink(i, a[i])
	}
}

// sink puts an entry in place i or below, where the earlier ones come up.
func (a agenda) sink(i int, moved uint64) {
	for {
		first := 4*i + 1
		if first >= len(a) {
			break
		}
		least := first
		for j := first + 1; j < min(first+4, len(a)); j++ {
			if a[j] < a[least] {
				least = j
			}
		}
		if a[least] >= moved {
			break
		}
		a[i] = a[least]
		i = least
	}
	a[i] = moved
}
