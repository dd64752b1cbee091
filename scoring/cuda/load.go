package cuda

import (
	"errors"
	"time"

	"github.com/weir-risk/weir/scoring/cuda/kernels"
	"github.com/weir-risk/weir/scoring/cuda/link"
)

// load puts the models that are not on the worker's device there, as many as have room,
// each once its golden rows are right. fresh says that nobody else uses the worker yet.
func (d *Device) load(w *process, fresh bool) error {
	for {
		s, slot := d.next(w)
		if s == nil {
			return nil
		}
		image, err := s.pack()
		if err == nil {
			err = w.upload(slot, image, s.model.Columns, d.cfg.StartWithin, d.stop)
		}
		if err == nil {
			err = d.prove(w, s, slot, fresh)
		}
		if f := (*Fault)(nil); errors.As(err, &f) && f.Class == link.WrongBits {
			d.wrong(w, s)
		}
		d.placed(w, s, slot, err)
		if err != nil {
			return err
		}
	}
}

// next returns a model that is to be loaded, and a slot for it; nil where there is none.
func (d *Device) next(w *process) (*Scorer, int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for slot, holder := range w.slots {
		if holder != nil {
			continue
		}
		for _, s := range d.models {
			if s.on != w && s.barred == "" {
				w.slots[slot] = s
				return s, slot
			}
		}
	}
	for _, s := range d.models { // no slot: the CPU scores, until one is free
		s.tell()
	}
	return nil, 0
}

// placed notes what became of a model that was to be loaded.
func (d *Device) placed(w *process, s *Scorer, slot int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s.tell()
	if err != nil || s.closed {
		w.slots[slot] = nil
		return
	}
	s.on, s.slot, s.fresh = w, slot, true
}

// pack makes the image of the model for the kernel that is to score with it.
func (s *Scorer) pack() ([]byte, error) {
	if s.half {
		return kernels.PackF16(s.model)
	}
	return kernels.Pack(s.model)
}

// wrong counts golden rows of a model that came out wrong beside another model's that
// were right: then it is not the device. A device that gives nothing right is tried
// again and again.
func (d *Device) wrong(w *process, s *Scorer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, other := range w.slots {
		if other == nil || other == s || other.on != w {
			continue
		}
		if s.wrong++; s.wrong >= wrongMax {
			s.barred = "its golden rows come out wrong on this GPU, beside others that are right"
			d.cfg.Log.Error("this model is scored on the CPU", "why", s.barred)
		}
		return
	}
}

// prove has the device score the golden rows of a model, in batches of every size; a
// fresh worker, in every lane. What they cost is kept for the router.
func (d *Device) prove(w *process, s *Scorer, slot int, fresh bool) error {
	lanes := []int{goldenLane}
	if fresh {
		lanes = []int{0, 1, goldenLane}
	}
	for _, lane := range lanes {
		for from := 0; from < s.golden.x.Rows; {
			n := min(s.golden.x.Rows-from, link.RowsOf(s.model.Columns))
			if _, err := d.try(w, s, lane, slot, from, n); err != nil {
				return err
			}
			from += n
		}
		for i, rows := range seedRows {
			cost, err := d.try(w, s, lane, slot, 0, min(rows, link.RowsOf(s.model.Columns)))
			if err != nil {
				return err
			}
			s.cost[i] = cost
		}
	}
	return nil
}

// try scores some of the golden rows, over and over again from a row on, and compares.
func (d *Device) try(w *process, s *Scorer, lane, slot, from, rows int) (time.Duration, error) {
	columns := s.model.Columns
	start := time.Now()
	copy(w.page.Rows(lane), s.golden.wide[from*columns:(from+rows)*columns])
	before := w.submit(lane, slot, rows)
	if f := w.collect(lane, before, 0, max(d.cfg.Deadline, startLimit)); f != nil {
		return 0, f
	}
	cost := time.Since(start)
	if err := s.golden.check(w.page.Scores(lane)[:rows], from); err != nil {
		return 0, faultf(link.WrongBits, "%v", err)
	}
	return cost, nil
}

// startLimit is the least that a golden batch is given: the first launch of a kernel
// waits for the driver to load it.
const startLimit = 2 * time.Second
