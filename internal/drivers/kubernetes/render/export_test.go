package render

import (
	"encoding/base64"
	"testing"
	"time"
)

// SetLimits lowers what a child may take.
func SetLimits(t *testing.T, limit time.Duration, mebibytes int) {
	was, wasMemory := maxTime, maxMemory
	maxTime, maxMemory = limit, int64(mebibytes)<<20
	t.Cleanup(func() { maxTime, maxMemory = was, wasMemory })
}

func base64Std(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
