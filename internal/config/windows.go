package config

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // windows name time zones on machines that have no database of them
)

var (
	windowForm = regexp.MustCompile(`^(?:([A-Za-z]{3}(?:[,-][A-Za-z]{3})*) +)?([0-9]{1,2}):([0-9]{2})-([0-9]{1,2}):([0-9]{2})(?: +([A-Za-z0-9_+/-]+))?$`)
	dayNames   = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}
)

const minutesOfDay = 24 * 60

// ParseWindow reads "Mon-Thu 08:00-16:00 Europe/Berlin". Days may be a list
// ("Mon,Wed,Fri") and may be left out, which is every day; without a time zone
// it is UTC. "22:00-04:00" passes midnight and belongs to the day it starts;
// "00:00-24:00" is the whole day.
func ParseWindow(text string) (Window, error) {
	w := Window{Text: text, Location: time.UTC}
	m := windowForm.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil {
		return w, fmt.Errorf(`expected a window like "Mon-Thu 08:00-16:00 Europe/Berlin", found %q`, text)
	}
	if err := w.parseDays(m[1]); err != nil {
		return w, err
	}
	var err error
	if w.From, err = minutes(m[2], m[3]); err != nil || w.From == minutesOfDay {
		return w, fmt.Errorf("%s:%s is not a time to start at", m[2], m[3])
	}
	if w.To, err = minutes(m[4], m[5]); err != nil {
		return w, err
	}
	if w.From == w.To {
		return w, fmt.Errorf("the window starts and ends at %s:%s; for the whole day write 00:00-24:00", m[2], m[3])
	}
	if m[6] != "" {
		if w.Location, err = time.LoadLocation(m[6]); err != nil || m[6] == "Local" {
			return w, fmt.Errorf("there is no time zone %q; write one like Europe/Berlin or UTC", m[6])
		}
	}
	return w, nil
}

func (w *Window) parseDays(days string) error {
	if days == "" {
		w.Days = [7]bool{true, true, true, true, true, true, true}
		return nil
	}
	for part := range strings.SplitSeq(days, ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		a, b := weekday(from), weekday(to)
		if a < 0 || b < 0 {
			return fmt.Errorf("%q is no day; days are Mon, Tue, Wed, Thu, Fri, Sat, Sun", part)
		}
		for d := a; ; d = (d + 1) % 7 {
			w.Days[d] = true
			if d == b {
				break
			}
		}
	}
	return nil
}

func weekday(name string) int {
	for i, d := range dayNames {
		if strings.EqualFold(name, d) {
			return i
		}
	}
	return -1
}

func minutes(hour, minute string) (int, error) {
	h, errH := strconv.Atoi(hour)
	m, errM := strconv.Atoi(minute)
	n := h*60 + m
	if errH != nil || errM != nil || m > 59 || n > minutesOfDay {
		return 0, fmt.Errorf("%s:%s is not a time of day", hour, minute)
	}
	return n, nil
}

// UnmarshalYAML reads the text form.
func (w *Window) UnmarshalYAML(fill func(any) error) error {
	var text string
	if err := fill(&text); err != nil {
		return err
	}
	var err error
	*w, err = ParseWindow(text)
	return err
}

// Contains tells whether the window is open at a time. The wall clock of the
// window's own time zone counts, so a window keeps its hours when the clock
// changes: one that lies in the hour that is left out does not open that day.
func (w Window) Contains(t time.Time) bool {
	for day := -1; day <= 0; day++ {
		from, to, ok := w.on(t, day)
		if ok && !t.Before(from) && t.Before(to) {
			return true
		}
	}
	return false
}

// Next gives the time at which the window opens next after t: the start of
// the first one that starts later. It is zero when it never opens.
func (w Window) Next(t time.Time) time.Time {
	// A weekly window can fall into the hour that is left out, so look further
	// than one week.
	for day := -1; day <= 15; day++ {
		if from, _, ok := w.on(t, day); ok && from.After(t) {
			return from
		}
	}
	return time.Time{}
}

// on gives the window that starts some days after t's day.
func (w Window) on(t time.Time, day int) (from, to time.Time, ok bool) {
	loc := w.Location
	if loc == nil {
		loc = time.UTC
	}
	y, m, d := t.In(loc).Date()
	start := time.Date(y, m, d+day, 12, 0, 0, 0, loc)
	if !w.Days[start.Weekday()] {
		return from, to, false
	}
	y, m, d = start.Date()
	end := d
	if w.To <= w.From {
		end++
	}
	from = time.Date(y, m, d, 0, w.From, 0, 0, loc)
	to = time.Date(y, m, end, 0, w.To, 0, 0, loc)
	return from, to, from.Before(to)
}
