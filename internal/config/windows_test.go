package config_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"trueup.dev/trueup/internal/config"
)

func TestParseWindow(t *testing.T) {
	for text, want := range map[string]string{
		"Mon-Thu 08:00-16:00 Europe/Berlin": "",
		"Fri-Mon 22:00-04:00":               "",
		"Sat,Sun 00:00-24:00 UTC":           "",
		"08:00-09:00":                       "",
		"Mon 8:00-16:00":                    "",
		"Mon-Thu 08:00":                     `expected a window like "Mon-Thu 08:00-16:00 Europe/Berlin", found "Mon-Thu 08:00"`,
		"Mon-Foo 08:00-09:00":               `"Mon-Foo" is no day; days are Mon, Tue, Wed, Thu, Fri, Sat, Sun`,
		"Mon 08:00-25:00":                   "25:00 is not a time of day",
		"Mon 24:00-08:00":                   "24:00 is not a time to start at",
		"Mon 08:00-08:00":                   "the window starts and ends at 08:00; for the whole day write 00:00-24:00",
		"Mon 08:00-09:00 Europe/Berlim":     `there is no time zone "Europe/Berlim"; write one like Europe/Berlin or UTC`,
	} {
		_, err := config.ParseWindow(text)
		if got := errText(err); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func window(t testing.TB, text string) config.Window {
	t.Helper()
	w, err := config.ParseWindow(text)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestWindowAroundMidnightAndClockChanges(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	at := func(s string) time.Time {
		t.Helper()
		x, err := time.ParseInLocation("2006-01-02 15:04", s, berlin)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	for _, c := range []struct {
		window, at string
		open       bool
		next       string
	}{
		{"Fri 22:00-04:00 Europe/Berlin", "2026-11-28 03:59", true, "2026-12-04 22:00"},
		{"Fri 22:00-04:00 Europe/Berlin", "2026-11-28 04:00", false, "2026-12-04 22:00"},
		{"Fri 22:00-04:00 Europe/Berlin", "2026-11-27 03:00", false, "2026-11-27 22:00"},
		// Summer time begins on 2026-03-29 at 02:00: 08:00 stays 08:00.
		{"08:00-16:00 Europe/Berlin", "2026-03-29 08:00", true, "2026-03-30 08:00"},
		{"08:00-16:00 Europe/Berlin", "2026-03-29 07:59", false, "2026-03-29 08:00"},
		// It ends on 2026-10-25: the day has 25 hours.
		{"00:00-24:00 Europe/Berlin", "2026-10-25 23:59", true, "2026-10-26 00:00"},
		{"Sun 22:00-04:00 Europe/Berlin", "2026-10-26 03:59", true, "2026-11-01 22:00"},
		{"Sat 23:00-05:00 Europe/Berlin", "2026-03-29 04:59", true, "2026-04-04 23:00"},
	} {
		w := window(t, c.window)
		if got := w.Contains(at(c.at)); got != c.open {
			t.Errorf("%s at %s: open is %v", c.window, c.at, got)
		}
		if got := w.Next(at(c.at)); !got.Equal(at(c.next)) {
			t.Errorf("%s after %s: next is %s, want %s", c.window, c.at, got, c.next)
		}
	}
}

// What Next promises: it lies ahead, the window is open then, it is not open
// one instant before a start that follows a closed time, and no minute between
// is a start that was passed over.
func TestWindowProperties(t *testing.T) {
	zones := []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "America/Sao_Paulo", "Asia/Kathmandu"}
	texts := []string{"Mon-Fri 08:00-16:00", "22:00-04:00", "Sun 01:00-03:30", "02:15-02:45", "00:00-24:00", "Sat 23:30-00:30", "Tue,Thu 00:00-01:00"}
	rapid.Check(t, func(rt *rapid.T) {
		text := rapid.SampledFrom(texts).Draw(rt, "window") + " " + rapid.SampledFrom(zones).Draw(rt, "zone")
		w, err := config.ParseWindow(text)
		if err != nil {
			rt.Fatal(err)
		}
		now := time.Unix(rapid.Int64Range(1_700_000_000, 1_900_000_000).Draw(rt, "now")/60*60, 0)
		next := w.Next(now)
		if !next.After(now) {
			rt.Fatalf("%s: next after %s is %s", text, now, next)
		}
		if !w.Contains(next) {
			rt.Fatalf("%s: closed at its own start %s", text, next)
		}
		if next.Sub(now) > 16*24*time.Hour {
			rt.Fatalf("%s: next is %s after now", text, next.Sub(now))
		}
		// From a closed moment on it stays closed until next.
		if !w.Contains(now) {
			for m := now; m.Before(next); m = m.Add(15 * time.Minute) {
				if w.Contains(m) {
					rt.Fatalf("%s: open at %s, although next after %s is %s", text, m, now, next)
				}
			}
		}
	})
}
