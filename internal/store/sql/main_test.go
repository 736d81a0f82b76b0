//go:build !real

package sql_test

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	if isChild() {
		os.Exit(child())
	}
	os.Exit(m.Run())
}
