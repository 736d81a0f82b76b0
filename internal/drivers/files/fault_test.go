package files_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"trueup.dev/trueup/internal/driver/drivertest"
	"trueup.dev/trueup/internal/drivers/files"
	"trueup.dev/trueup/internal/plan"
)

// newHooked is a journal that lets somebody else in once, just before the
// first write.
func newHooked(r *rig, p *plan.Plan, meanwhile func()) *drivertest.Journal {
	j := drivertest.NewJournal(r.inv, p)
	var once sync.Once
	j.OnPending = func([]plan.Key) error { once.Do(meanwhile); return nil }
	return j
}

// TestLeftoversAreSwept: what a killed process left is removed, what another
// process is writing at this moment is not.
func TestLeftoversAreSwept(t *testing.T) {
	r := newRig(t)
	r.write(".trueup-OLD", "half")
	r.write(".trueup-BUSY", "half")
	r.must(os.Symlink("nowhere", r.path(".trueup-LINK")))
	busy, err := os.Open(r.path(".trueup-BUSY"))
	r.must(err)
	defer busy.Close()
	r.must(syscall.Flock(int(busy.Fd()), syscall.LOCK_EX))
	in := r.input(map[string]string{"a": "1"})
	p := r.plan(map[string]string{"a": "1"})
	if p.Scopes[0].Unmanaged != 0 {
		t.Error("unfinished files count as unmanaged")
	}
	in.Now = time.Now().Add(time.Hour)
	j := drivertest.NewJournal(r.inv, p)
	r.must(r.session().Apply(t.Context(), in, p, j))
	r.gone(".trueup-OLD")
	r.gone(".trueup-LINK")
	if r.read(".trueup-BUSY") != "half" {
		t.Error("another process' file was removed")
	}
	if !strings.Contains(j.Log(), ".trueup-OLD") {
		t.Error("it is not logged")
	}
}

// TestReadersSeeOldOrNew reads a file all the time while it is replaced.
func TestReadersSeeOldOrNew(t *testing.T) {
	r := newRig(t)
	one, two := strings.Repeat("1", 200_000), strings.Repeat("2", 300_000)
	r.sync(map[string]string{"f": one})
	ctx, stop := context.WithCancel(t.Context())
	bad := make(chan string, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			b, err := os.ReadFile(r.path("f"))
			if err != nil || string(b) != one && string(b) != two {
				bad <- "a reader saw something else than the old or the new content"
				return
			}
		}
	})
	for range 10 {
		r.sync(map[string]string{"f": two})
		r.sync(map[string]string{"f": one})
	}
	stop()
	wg.Wait()
	select {
	case msg := <-bad:
		t.Fatal(msg)
	default:
	}
}

// TestCancelledMidFile cancels while one large file is being written.
func TestCancelledMidFile(t *testing.T) {
	r := newRig(t)
	want := map[string]string{"big": strings.Repeat("x", 64<<20)}
	p := r.plan(want)
	ctx, cancel := context.WithCancel(t.Context())
	j := newHooked(r, p, func() { time.AfterFunc(5*time.Millisecond, cancel) })
	start := time.Now()
	err := r.session().Apply(ctx, r.input(want), p, j)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled apply gives %v", err)
	}
	r.gone("big")
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %s to stop", took)
	}
	r.clean()
}

// gate is a snapshot in which the reader of one file waits.
type gate struct {
	fs.FS
	name             string
	entered, release chan struct{}
	once             *sync.Once
}

func (g gate) Open(name string) (fs.File, error) {
	if name == g.name {
		g.once.Do(func() { close(g.entered) })
		<-g.release
	}
	return g.FS.Open(name)
}

// TestTwoProcessesInOneDirectory: one target's apply sweeps the directory
// while another target's apply is in the middle of a file there.
func TestTwoProcessesInOneDirectory(t *testing.T) {
	r := newRig(t)
	whole := strings.Repeat("whole", 10_000) // too long to be shown: it is opened only to be written
	slow := r.input(map[string]string{"slow": whole})
	p := r.plan(map[string]string{"slow": whole})
	prep, err := files.New().Prepare(t.Context(), slow)
	r.must(err)
	g := gate{slow.Tree, "src/slow", make(chan struct{}), make(chan struct{}), &sync.Once{}}
	slow.Prepared, slow.Tree = prep, g
	done := make(chan error, 1)
	j := drivertest.NewJournal(nil, p)
	s := r.session()
	go func() { done <- s.Apply(t.Context(), slow, p, j) }()
	<-g.entered

	quick := r.input(map[string]string{"quick": "1"})
	quick.Now = time.Now().Add(time.Hour)
	q := r.plan(map[string]string{"quick": "1"})
	r.must(r.session().Apply(t.Context(), quick, q, drivertest.NewJournal(nil, q)))
	close(g.release)
	r.must(<-done)
	if res := j.Results(); len(res) != 1 || res[0].Outcome != plan.Applied || r.read("slow") != whole {
		t.Errorf("%+v", res)
	}
}
