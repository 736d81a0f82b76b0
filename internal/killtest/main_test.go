//go:build real

package killtest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// program is the real program.
var program string

func TestMain(m *testing.M) {
	if os.Getenv(pointEnv) != "" {
		os.Exit(dyingServer())
	}
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "trueup-killtest-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "trueup")
	if out, err := exec.Command("go", "build", "-o", program, "trueup.dev/trueup/cmd/trueup").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build trueup: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// newRand gives the test's random numbers. A failed test says its seed;
// TRUEUP_KILLTEST_SEED brings it again, as far as timing allows.
func newRand(t *testing.T) *rand.Rand {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("TRUEUP_KILLTEST_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("again with TRUEUP_KILLTEST_SEED=%d", seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 1))
}
