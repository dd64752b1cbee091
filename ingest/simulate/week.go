package simulate

const (
	minuteMs = int64(60_000)
	hourMs   = 60 * minuteMs
	dayMs    = 24 * hourMs
	weekMs   = 7 * dayMs
	yearMs   = 365 * dayMs

	hoursAWeek = 7 * 24
)

// The ways to live: when in the week people pay.
const (
	atOffice = iota
	atNight
	atHome
	student
	numLives
)

// habits are the weights of the hours of a working day and of a day off.
var habits = [numLives][2]string{
	//        0     6     12    18
	atOffice: {"100001357333796333579742", "310000124688876656677764"},
	atNight:  {"577742112222233344433345", "666532111222333444444566"},
	atHome:   {"000000125899776787532110", "100000123678987667643211"},
	student:  {"421000013544687555678876", "764310001235677667788998"},
}

// week maps a share of a week's payments to the time of the week by which they
// have been made, so that people who pay at a constant rate by their own clock
// pay at their own hours by the world's.
type week struct {
	// by[h] is the share of payments made before hour h of the week; Monday 0h
	// is hour 0.
	by [hoursAWeek + 1]float64
	// guide[i] is the hour into which the share i/len(guide) falls.
	guide [512]uint8
}

func newWeek(life int) (w week) {
	total := 0.0
	for h := range hoursAWeek {
		off := 0
		if h >= 5*24 {
			off = 1
		}
		// No hour is quite empty: there is always someone up.
		total += float64(habits[life][off][h%24]-'0') + 0.15
		w.by[h+1] = total
	}
	for h := range w.by {
		w.by[h] /= total
	}
	h := 0
	for i := range w.guide {
		for w.by[h+1] <= float64(i)/float64(len(w.guide)) {
			h++
		}
		w.guide[i] = uint8(h)
	}
	return w
}

// at returns the time of the week, in ms, by which the share f of [0, 1) of its
// payments has been made.
func (w *week) at(f float64) int64 {
	h := int(w.guide[int(f*float64(len(w.guide)))])
	for w.by[h+1] <= f {
		h++
	}
	part := (f - w.by[h]) / (w.by[h+1] - w.by[h])
	return int64(h)*hourMs + int64(part*float64(hourMs))
}

// share returns the share of the week's payments made by ms of it.
func (w *week) share(ms int64) float64 {
	h := ms / hourMs
	part := float64(ms%hourMs) / float64(hourMs)
	return mad(w.by[h+1]-w.by[h], part, w.by[h])
}
