package policy

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"trueup.dev/trueup/internal/config"
)

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatalf("%v: install tzdata", err)
	}
	return loc
}

func window(loc *time.Location, from, to string, days ...time.Weekday) config.Window {
	w := config.Window{Location: loc, From: minutes(from), To: minutes(to)}
	for _, d := range days {
		w.Days[d] = true
	}
	return w
}

func minutes(s string) int {
	return 600*int(s[0]-'0') + 60*int(s[1]-'0') + 10*int(s[3]-'0') + int(s[4]-'0')
}

func TestInWindow(t *testing.T) {
	berlin := zone(t, "Europe/Berlin")
	week := []time.Weekday{time.Monday, time.Tuesday, time.Wednesday, time.Thursday}
	office := window(berlin, "08:00", "16:00", week...)
	night := window(berlin, "22:00", "04:00", time.Friday)
	whole := window(time.UTC, "00:00", "24:00", time.Sunday)
	sunday2 := window(berlin, "02:00", "03:00", time.Sunday)
	for name, c := range map[string]struct {
		ws   []config.Window
		now  string // in Berlin, unless it says otherwise
		ok   bool
		next string
	}{
		"none":              {nil, "2026-11-22T03:00:00+01:00", true, ""},
		"open":              {[]config.Window{office}, "2026-11-23T08:00:00+01:00", true, ""},
		"last moment":       {[]config.Window{office}, "2026-11-23T15:59:59+01:00", true, ""},
		"closed":            {[]config.Window{office}, "2026-11-23T16:00:00+01:00", false, "2026-11-24T08:00:00+01:00"},
		"before":            {[]config.Window{office}, "2026-11-23T07:59:59+01:00", false, "2026-11-23T08:00:00+01:00"},
		"week's end":        {[]config.Window{office}, "2026-11-26T16:00:00+01:00", false, "2026-11-30T08:00:00+01:00"},
		"another clock":     {[]config.Window{office}, "2026-11-22T23:30:00-08:00", true, ""},
		"past midnight":     {[]config.Window{night}, "2026-11-28T03:59:00+01:00", true, ""},
		"after that":        {[]config.Window{night}, "2026-11-28T04:00:00+01:00", false, "2026-12-04T22:00:00+01:00"},
		"not the day's own": {[]config.Window{night}, "2026-11-27T03:00:00+01:00", false, "2026-11-27T22:00:00+01:00"},
		"the sooner":        {[]config.Window{night, office}, "2026-11-26T17:00:00+01:00", false, "2026-11-27T22:00:00+01:00"},
		"any of them":       {[]config.Window{night, office}, "2026-11-23T12:00:00+01:00", true, ""},
		"a whole day":       {[]config.Window{whole}, "2026-11-22T23:59:59Z", true, ""},
		"no longer":         {[]config.Window{whole}, "2026-11-23T00:00:00Z", false, "2026-11-29T00:00:00Z"},
		"into summer time":  {[]config.Window{office}, "2026-03-27T12:00:00+01:00", false, "2026-03-30T08:00:00+02:00"},
		"an hour left out":  {[]config.Window{sunday2}, "2026-03-28T12:00:00+01:00", false, "2026-04-05T02:00:00+02:00"},
		// 02:30 does not exist that day; the window is not moved ahead of it.
		"a start left out":    {[]config.Window{window(zone(t, "America/New_York"), "02:30", "05:00", time.Sunday)}, "2026-03-08T01:45:00-05:00", false, "2026-03-08T03:30:00-04:00"},
		"an end left out":     {[]config.Window{window(berlin, "00:00", "02:30", time.Sunday)}, "2026-03-29T03:10:00+02:00", false, "2026-04-05T00:00:00+02:00"},
		"an hour twice":       {[]config.Window{sunday2}, "2026-10-25T02:30:00+01:00", true, ""},
		"never":               {[]config.Window{window(berlin, "08:00", "16:00")}, "2026-11-23T12:00:00+01:00", false, ""},
		"without a time zone": {[]config.Window{window(nil, "11:00", "12:00", time.Monday)}, "2026-11-23T12:30:00+01:00", true, ""},
	} {
		now, err := time.Parse(time.RFC3339, c.now)
		if err != nil {
			t.Fatal(err)
		}
		ok, next := InWindow(c.ws, now)
		var want time.Time
		if c.next != "" {
			if want, err = time.Parse(time.RFC3339, c.next); err != nil {
				t.Fatal(err)
			}
		}
		if ok != c.ok || !next.Equal(want) {
			t.Errorf("%s: %v %v, want %v %s", name, ok, next, c.ok, c.next)
		}
	}
}

// When a window is closed, the next one is ahead, open at its first moment
// and closed until then.
func TestNextWindow(t *testing.T) {
	locs := []*time.Location{nil, time.UTC, zone(t, "Europe/Berlin"), zone(t, "America/New_York"), zone(t, "Australia/Lord_Howe")}
	rapid.Check(t, func(t *rapid.T) {
		w := config.Window{From: rapid.IntRange(0, 1439).Draw(t, "from"), To: rapid.IntRange(0, 1440).Draw(t, "to"), Location: rapid.SampledFrom(locs).Draw(t, "loc")}
		for d := range w.Days {
			w.Days[d] = rapid.Bool().Draw(t, "day")
		}
		now := time.Unix(rapid.Int64Range(1.7e9, 1.9e9).Draw(t, "now"), 0)
		ok, next := InWindow([]config.Window{w}, now)
		if ok {
			return
		}
		if w.Days == [7]bool{} {
			if !next.IsZero() {
				t.Fatalf("a window without days opens %v", next)
			}
			return
		}
		if !next.After(now) {
			t.Fatalf("next %v is not after %v", next, now)
		}
		if open, _ := InWindow([]config.Window{w}, next); !open {
			t.Fatalf("not open at %v", next)
		}
		if open, _ := InWindow([]config.Window{w}, next.Add(-time.Second)); open {
			t.Fatalf("open before %v", next)
		}
	})
}
