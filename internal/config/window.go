package config

import "time"

// Window is a time in which changes may be applied, written like
// "Mon-Thu 08:00-16:00 Europe/Berlin". A window may pass midnight.
type Window struct {
	Days     [7]bool // by time.Weekday, of the window's start
	From, To int     // minutes since midnight; To <= From passes midnight
	Location *time.Location
	Text     string // as written
}
