package alerts

import "sync"

// recentMax is how many alerts a generation of [recent] holds: some hundred pages of a
// queue, and with what an alert says about 10 MB.
const recentMax = 4096

// recent holds the alerts that were read last, with their states, so that the top of a
// queue, which every analyst has before them, is not read and parsed for each anew. It is
// two generations: when the young one is full it takes the old one's place, and what is
// found in the old one is young again.
//
// A change is forgotten before its commit, and nothing is kept of its alert until that is
// over: whoever sees in the file what was done finds no state here that is older. Who reads
// says what it began at, so that nothing that was read before a commit is kept after it.
type recent struct {
	mu         sync.Mutex
	changes    uint64         // commits that changed a state
	held       map[int64]bool // alerts that a commit under way changes
	young, old map[int64]Item
}

// get returns an alert if it is here; and what it is to be put at if it is not.
func (r *recent) get(key int64) (x Item, at uint64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if x, ok = r.young[key]; ok {
		return x, r.changes, true
	}
	if x, ok = r.old[key]; ok {
		r.keep(key, x)
	}
	return x, r.changes, ok
}

// put keeps an alert that was read since get said at. Nobody may change what it points to.
func (r *recent) put(key int64, x Item, at uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.changes == at && !r.held[key] {
		r.keep(key, x)
	}
}

func (r *recent) keep(key int64, x Item) {
	if len(r.young) >= recentMax {
		r.old, r.young = r.young, nil
	}
	if r.young == nil {
		r.young = make(map[int64]Item, recentMax)
	}
	r.young[key] = x
}

// hold is called before a commit, with what it changes.
func (r *recent) hold(changes []change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held = make(map[int64]bool, len(changes))
	for _, c := range changes {
		r.held[c.key] = true
		delete(r.young, c.key)
		delete(r.old, c.key)
	}
}

// forget is called behind a commit, with what changed.
func (r *recent) forget(changes []change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changes++
	r.held = nil
	for _, c := range changes {
		delete(r.young, c.key)
		delete(r.old, c.key)
	}
}

// clear is called behind the commit that emptied the view.
func (r *recent) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changes++
	r.young, r.old = nil, nil
}
