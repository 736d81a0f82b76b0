// Package health runs the checks that follow an apply: TCP, HTTP, DNS, a
// command that the operator declared, or what a driver knows by itself. Each
// check is asked again and again until it is healthy or its time is over.
package health

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"time"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/secret"
)

// The bounds of a run of checks.
const (
	defaultWithin = time.Minute
	maxWithin     = time.Hour
	maxParallel   = 32
	firstWait     = 200 * time.Millisecond
	maxWait       = 5 * time.Second
	stayWait      = time.Second
	attemptTime   = 10 * time.Second // of one question; commands have their own
)

// Checker runs health checks.
type Checker struct {
	// Commands are the programs that the operator declared; a check names one.
	// There is no other way to run a program.
	Commands map[string]*config.Command
	Secrets  secret.Resolvers
	// Dir is where relative directories of commands start.
	Dir string
	// Driver asks a check that the target's driver knows by itself; nil knows
	// none.
	Driver func(ctx context.Context, check map[string]any) error
	// Subject is the scope (host) that commands are called for; nil is none.
	Subject *Subject
	// RootCAs are further authorities for https checks; nil is the system's.
	RootCAs *x509.CertPool
}

// Subject is what a command is called for.
type Subject struct {
	Target, Commit string
	Host           string // the scope's name
	// On runs a command on the host, for those that the operator declared to run
	// there; nil can't.
	On func(ctx context.Context, c driver.Command, log func(line string)) error
}

// Result is the outcome of one check.
type Result struct {
	// Check says what was asked: "tcp db:5432".
	Check string `json:"check"`
	OK    bool   `json:"ok"`
	// Err is what the last attempt found.
	Err  string        `json:"error,omitempty"`
	Took time.Duration `json:"took"`
}

// Logf takes a line for the run's log. It is called from several goroutines.
type Logf = func(format string, args ...any)

// Run asks all checks, at the same time, each until it is healthy, its time
// is over or the context ends. Results come in the order of the checks.
func (c *Checker) Run(ctx context.Context, checks []config.Health, log func(format string, args ...any)) []Result {
	if log == nil {
		log = func(string, ...any) {}
	}
	out := make([]Result, len(checks))
	slots := make(chan struct{}, maxParallel)
	var wg sync.WaitGroup
	for i, h := range checks {
		wg.Go(func() {
			select {
			case slots <- struct{}{}:
				defer func() { <-slots }()
				out[i] = c.poll(ctx, h, log)
			case <-ctx.Done():
				out[i] = Result{Check: name(h), Err: "cancelled before it was asked"}
			}
		})
	}
	wg.Wait()
	return out
}

// Healthy tells whether every result is.
func Healthy(results []Result) bool {
	for _, r := range results {
		if !r.OK {
			return false
		}
	}
	return true
}

// poll asks one check with growing pauses.
func (c *Checker) poll(parent context.Context, h config.Health, log Logf) Result {
	within := min(cmp.Or(max(h.Within, 0), defaultWithin), maxWithin)
	start := time.Now()
	ctx, cancel := context.WithTimeout(parent, within)
	defer cancel()
	r := Result{Check: name(h)}
	said := &changes{check: r.Check, log: log}
	var last error
	for wait := firstWait; ; wait = min(wait*2, maxWait) {
		err := c.ask(ctx, h, log)
		if err == nil && h.For > 0 {
			err = c.stays(parent, h, log)
		}
		// The end of the time says less than what the attempt before it found.
		if last == nil || err == nil || ctx.Err() == nil {
			last = err
		}
		said.note(err)
		if err == nil || driver.IsPermanent(err) || !sleep(ctx, wait) {
			break
		}
	}
	r.Took = time.Since(start)
	switch {
	case last == nil:
		r.OK = true
		log("health: %s is healthy after %s", r.Check, r.Took.Round(time.Millisecond))
		return r
	case parent.Err() != nil:
		r.Err = fmt.Sprintf("cancelled; last: %v", last)
	case driver.IsPermanent(last):
		r.Err = last.Error()
	default:
		r.Err = fmt.Sprintf("not healthy within %s: %v", within, last)
	}
	log("health: %s: %s", r.Check, r.Err)
	return r
}

// changes logs what a check of a driver waits for, whenever that changes.
type changes struct {
	check, last string
	lines       int
	log         Logf
}

func (c *changes) note(err error) {
	if !errors.Is(err, driver.ErrNotReady) || driver.IsPermanent(err) || err.Error() == c.last || c.lines >= maxLines {
		return
	}
	c.last = err.Error()
	c.lines++
	c.log("health: %s: %s", c.check, c.last)
}

// stays asks a check that is healthy again and again, as long as it has to
// stay so.
func (c *Checker) stays(ctx context.Context, h config.Health, log Logf) error {
	end := time.Now().Add(min(h.For, maxWithin))
	for {
		left := time.Until(end)
		if left <= 0 {
			return nil
		}
		if !sleep(ctx, min(left, stayWait)) {
			return ctx.Err()
		}
		if err := c.ask(ctx, h, log); err != nil {
			return fmt.Errorf("was healthy and did not stay so: %w", err)
		}
	}
}

// sleep waits, and tells whether the context still stands.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

var errNoKind = errors.New("the check asks nothing: write tcp, http, dns, command or what the driver offers")

// ask asks once.
func (c *Checker) ask(ctx context.Context, h config.Health, log Logf) error {
	if h.Command != "" {
		return c.command(ctx, h.Command, log)
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	switch {
	case h.TCP != "":
		return askTCP(ctx, h.TCP)
	case h.HTTP != "":
		return c.askHTTP(ctx, h.HTTP, h.Status)
	case h.DNS != nil:
		return askDNS(ctx, *h.DNS)
	case len(h.Driver) > 0 && c.Driver != nil:
		return c.Driver(ctx, h.Driver)
	case len(h.Driver) > 0:
		return driver.Permanent(errors.New("the driver offers no checks of its own"))
	}
	return driver.Permanent(errNoKind)
}
