package render

import (
	"testing"
	"time"
)

// SetLimits lowers what a child may take.
func SetLimits(t *testing.T, seconds, mebibytes int) {
	was, wasMemory := maxTime, maxMemory
	maxTime, maxMemory = time.Duration(seconds)*time.Second, int64(mebibytes)<<20
	t.Cleanup(func() { maxTime, maxMemory = was, wasMemory })
}
