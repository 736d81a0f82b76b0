package argocd

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"trueup.dev/trueup/internal/handover"
)

const (
	day  = 24 * 60
	week = 7 * day
)

// calendar has a bit for each minute of a week that begins on Sunday.
type calendar [week]bool

// windows gives the sync windows of its project that are about an Application,
// as trueup writes them: the times in which changes may be applied.
func (c *converter) windows(a *app) (out []string, of string) {
	p := c.set.Find(group, "AppProject", a.GetNamespace(), a.project)
	if p == nil {
		return nil, ""
	}
	var allow, deny calendar
	zone, some, denied := "", false, false
	for _, w := range p.At("spec", "syncWindows").Items() {
		if !c.about(w, a) {
			continue
		}
		tz := w.At("timeZone").Text()
		if tz == "" {
			tz = "UTC"
		}
		if zone != "" && tz != zone {
			c.out.Lost(p, w.Path(), "the windows of one policy are in one time zone here", "write this window in "+zone)
			continue
		}
		target := &allow
		if w.At("kind").Text() == "deny" {
			target, denied = &deny, true
		} else {
			some = true
		}
		zone = tz
		if err := mark(target, w.At("schedule").Text(), w.At("duration").Text()); err != nil {
			c.out.Lost(p, w.Path(), err.Error(), "write the windows of the policy by hand")
		}
		if w.At("manualSync").Yes() {
			c.out.Differs(p, w.At("manualSync").Path(), "a window holds runs that a person starts as well", "an approver may let a plan through, where the policy says so")
		}
	}
	if !some && !denied {
		return nil, ""
	}
	for i := range allow {
		allow[i] = (allow[i] || !some) && !deny[i]
	}
	if out = allow.write(zone); len(out) == 0 {
		c.out.Lost(p, "spec.syncWindows", "they leave no time at all", "write the windows of the policy by hand")
	}
	return out, a.project
}

// about tells whether a window is about an Application.
func (c *converter) about(w *handover.Fields, a *app) bool {
	apps, spaces, clusters := w.At("applications").Texts(), w.At("namespaces").Texts(), w.At("clusters").Texts()
	w.Ignore("description")
	inApps := anyGlob(apps, a.GetName())
	inSpaces := anyGlob(spaces, a.namespace)
	inClusters := anyGlob(clusters, a.cluster.server) || anyGlob(clusters, a.cluster.name)
	if w.At("andOperator").Yes() {
		return (len(apps) == 0 || inApps) && (len(spaces) == 0 || inSpaces) && (len(clusters) == 0 || inClusters)
	}
	return inApps || inSpaces || inClusters
}

func anyGlob(globs []string, text string) bool {
	return slices.ContainsFunc(globs, func(g string) bool { return globMatch(g, text) })
}

// globMatch is Argo CD's: * stands for any text, slashes too.
func globMatch(glob, text string) bool {
	if glob == "*" || glob == text {
		return true
	}
	swap := strings.NewReplacer("/", "\x00")
	ok, err := path.Match(swap.Replace(glob), swap.Replace(text))
	return err == nil && ok
}

// mark sets the minutes that a schedule opens for a time.
func mark(c *calendar, schedule, duration string) error {
	d, err := time.ParseDuration(duration)
	if err != nil || d < time.Minute || d > 7*24*time.Hour {
		return fmt.Errorf("%q is no duration of minutes up to a week", duration)
	}
	f := strings.Fields(schedule)
	if len(f) != 5 {
		return fmt.Errorf("%q is no schedule of five fields", schedule)
	}
	if f[2] != "*" || f[3] != "*" {
		return fmt.Errorf("the schedule %q goes by the month, and windows of trueup by the week", schedule)
	}
	minutes, err1 := cronField(f[0], 0, 59, nil)
	hours, err2 := cronField(f[1], 0, 23, nil)
	days, err3 := cronField(f[4], 0, 7, []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"})
	for _, err := range []error{err1, err2, err3} {
		if err != nil {
			return err
		}
	}
	length := int(d / time.Minute)
	for _, wd := range days {
		for _, h := range hours {
			for _, m := range minutes {
				start := (wd%7)*day + h*60 + m
				for i := range length {
					c[(start+i)%week] = true
				}
			}
		}
	}
	return nil
}

// cronField reads *, 1, 1-5, */2, 1-5/2, mon, and lists of them.
func cronField(text string, low, high int, names []string) ([]int, error) {
	var out []int
	for part := range strings.SplitSeq(text, ",") {
		span, every, stepped := strings.Cut(part, "/")
		step := 1
		if stepped {
			n, err := strconv.Atoi(every)
			if err != nil || n < 1 {
				return nil, fmt.Errorf("%q is no part of a schedule", part)
			}
			step = n
		}
		from, to := low, high
		if span == "*" {
			if high == 7 {
				to = 6
			}
		} else {
			a, b, ranged := strings.Cut(span, "-")
			if !ranged {
				b = a
				if stepped {
					b = strconv.Itoa(high)
				}
			}
			var errA, errB error
			from, errA = cronNumber(a, names)
			to, errB = cronNumber(b, names)
			if errA != nil || errB != nil || from < low || to > high || from > to {
				return nil, fmt.Errorf("%q is no part of a schedule", part)
			}
		}
		for i := from; i <= to; i += step {
			out = append(out, i)
		}
	}
	return out, nil
}

func cronNumber(text string, names []string) (int, error) {
	if i := slices.Index(names, strings.ToLower(text)); i >= 0 {
		return i, nil
	}
	return strconv.Atoi(text)
}

var dayNames = []string{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"}

// write gives the windows of a calendar: the days with equal times together.
func (c *calendar) write(zone string) []string {
	times := map[string][]int{} // a time of day -> the days that have it
	var order []string
	full := true
	for wd := range 7 {
		for _, s := range spans(c[wd*day : (wd+1)*day]) {
			if times[s] == nil {
				order = append(order, s)
			}
			times[s] = append(times[s], wd)
			full = full && s == "00:00-24:00"
		}
	}
	if full && len(times["00:00-24:00"]) == 7 {
		return []string{"00:00-24:00 " + zone}
	}
	var out []string
	for _, s := range order {
		out = append(out, days(times[s])+s+" "+zone)
	}
	return out
}

// spans gives the open times of a day.
func spans(minutes []bool) []string {
	var out []string
	for i := 0; i < len(minutes); i++ {
		if !minutes[i] {
			continue
		}
		from := i
		for i < len(minutes) && minutes[i] {
			i++
		}
		out = append(out, fmt.Sprintf("%02d:%02d-%02d:%02d", from/60, from%60, i/60, i%60))
	}
	return out
}

// days writes days of the week: none for all of them, Mon-Fri, Tue,Thu.
func days(list []int) string {
	if len(list) == 7 {
		return ""
	}
	slices.SortFunc(list, func(a, b int) int { return (a+6)%7 - (b+6)%7 }) // from Monday on
	var parts []string
	for i := 0; i < len(list); {
		j := i
		for j+1 < len(list) && (list[j+1]+6)%7 == (list[j]+6)%7+1 {
			j++
		}
		switch {
		case j-i >= 2:
			parts = append(parts, dayNames[list[i]]+"-"+dayNames[list[j]])
		default:
			for k := i; k <= j; k++ {
				parts = append(parts, dayNames[list[k]])
			}
		}
		i = j + 1
	}
	return strings.Join(parts, ",") + " "
}
