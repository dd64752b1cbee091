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

// postpone moves the first item to a later time.
func (q *queue[T]) postpone(at int64) {
	q.items[0].at = at
	q.sink(0)
}

// order makes a heap of items that were put in one by one.
func (q *queue[T]) order() {
	for i := len(q.items)/4 + 1; i >= 0; i-- {
		if i < len(q.items) {
			q.sink(i)
		}
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
