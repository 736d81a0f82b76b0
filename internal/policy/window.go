package policy

import (
	"time"

	"trueup.dev/trueup/internal/config"
)

// InWindow tells whether changes may be applied now, and if not, when the
// next window opens; next is zero while one is open and when none ever opens.
// Without windows it is always allowed. Days and minutes are those of the
// window's own clock, so that a change to summer time moves the window with it.
func InWindow(ws []config.Window, now time.Time) (ok bool, next time.Time) {
	if len(ws) == 0 {
		return true, time.Time{}
	}
	for _, w := range ws {
		open, from := windowAt(w, now)
		if open {
			return true, time.Time{}
		}
		if !from.IsZero() && (next.IsZero() || from.Before(next)) {
			next = from
		}
	}
	return false, next
}

// windowAt tells whether a window is open, or when it opens next. It looks
// from yesterday, whose window may have passed midnight, to two weeks ahead: a
// weekly window can be lost to a change of the clock once.
func windowAt(w config.Window, now time.Time) (open bool, next time.Time) {
	loc := w.Location
	if loc == nil {
		loc = time.UTC
	}
	y, m, d := now.In(loc).Date()
	for day := -1; day <= 14; day++ {
		if !w.Days[time.Date(y, m, d+day, 12, 0, 0, 0, loc).Weekday()] {
			continue
		}
		length := 0
		if w.To <= w.From {
			length = 1
		}
		from := atClock(time.Date(y, m, d+day, 0, w.From, 0, 0, loc), w.From, true)
		to := atClock(time.Date(y, m, d+day+length, 0, w.To, 0, 0, loc), w.To, false)
		switch {
		case !from.Before(to): // an hour that the clock leaves out
		case !now.Before(from) && now.Before(to):
			return true, time.Time{}
		case from.After(now):
			return false, from
		}
	}
	return false, time.Time{}
}

// atClock mends a time that the clock leaves out, for which time.Date may give
// one before or after the gap: a window opens after it and closes before it,
// so that it is never longer than it says.
func atClock(t time.Time, minute int, opens bool) time.Time {
	const day = 24 * 60
	off := (minute%day - t.Hour()*60 - t.Minute() + day + day/2) % day
	off -= day / 2
	if opens == (off > 0) {
		return t.Add(time.Duration(off) * time.Minute)
	}
	return t
}
