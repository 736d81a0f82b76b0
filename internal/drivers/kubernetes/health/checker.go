package health

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"trueup.dev/trueup/internal/client/kube"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
)

// Checker judges objects. It remembers since when it sees them, and is safe
// for concurrent use; keep one for each connection.
type Checker struct {
	managers []string
	rules    Rules

	mu      sync.Mutex
	marks   map[types.UID]mark
	swept   time.Time
	reasons map[string]reason
}

// New makes a checker. The managers are those that trueup applies as; the
// rules are the operator's.
func New(managers []string, rules Rules) *Checker {
	return &Checker{managers: managers, rules: rules, marks: map[types.UID]mark{}, reasons: map[string]reason{}, swept: time.Now()}
}

// Check judges a target's objects once: nil when all are ready,
// driver.ErrNotReady with what is missing, or a permanent error for what can't
// become ready any more. The secrets of others are not to show either.
func (c *Checker) Check(ctx context.Context, cluster Cluster, target string, check *Check, objects []manifest.Object, others ...manifest.Object) error {
	chosen, err := check.choose(objects)
	if err != nil {
		return driver.Permanent(err)
	}
	found, err := c.look(ctx, cluster, chosen, check.rules)
	if err != nil {
		return lasting(err)
	}
	return c.conclude(ctx, cluster, target, found, secretsOf(slices.Concat(objects, others)))
}

// lasting marks what asking again can't mend.
func lasting(err error) error {
	if errors.Is(err, kube.ErrDenied) && !errors.Is(err, driver.ErrUnreachable) {
		return driver.Permanent(err)
	}
	return err
}

// conclude makes one error of what was found.
func (c *Checker) conclude(ctx context.Context, cluster Cluster, subject string, found []finding, secrets masks) error {
	bad := unready(found)
	if len(bad) == 0 {
		c.forget(subject)
		return nil
	}
	line := progress(found, bad, secrets)
	if why := c.explain(ctx, cluster, subject, bad, secrets); why != "" {
		line += "; " + why
	}
	if bad[0].State == Failed {
		c.forget(subject)
		return driver.Permanent(errors.New(line))
	}
	return fmt.Errorf("%w: %s", driver.ErrNotReady, line)
}

// unready gives what is not ready, that which failed first.
func unready(found []finding) []finding {
	var bad []finding
	for _, f := range found {
		if f.State != Ready {
			bad = append(bad, f)
		}
	}
	slices.SortFunc(bad, func(a, b finding) int { return cmp.Or(cmp.Compare(b.State, a.State), a.Compare(b.Ref)) })
	return bad
}

// shown is how many objects a line of progress names.
const shown = 3

// progress is one line: "3 of 5 ready; Deployment.apps/shop/api: 1 of 3 pods
// updated".
func progress(found, bad []finding, secrets masks) string {
	texts := []string{fmt.Sprintf("%d of %d ready", len(found)-len(bad), len(found))}
	for i, f := range bad {
		if i == shown {
			texts = append(texts, fmt.Sprintf("and %d more", len(bad)-shown))
			break
		}
		texts = append(texts, fmt.Sprintf("%s: %s", f.Ref, secrets.clip(f.Why, maxText)))
	}
	return strings.Join(texts, "; ")
}

// WaitOptions say how to wait.
type WaitOptions struct {
	// Within bounds the wait; 0 leaves that to the context.
	Within time.Duration
	// Log gets a line whenever what is missing changes; nil gets none.
	Log func(format string, args ...any)
	// Secrets are objects whose secret values must not show in the texts,
	// beside those that are waited for.
	Secrets []manifest.Object
}

// The pauses between two looks.
const (
	firstPause = 100 * time.Millisecond
	maxPause   = time.Second
)

// Wait waits until objects are ready: a definition established, a namespace
// active, a workload rolled out, a Job complete. It fails at once where one of
// them can't become ready any more. When the time is over, the error is
// driver.ErrNotReady with what is missing and why.
func (c *Checker) Wait(ctx context.Context, cluster Cluster, objects []manifest.Object, o WaitOptions) error {
	start, outer := time.Now(), ctx
	if o.Within > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.Within)
		defer cancel()
	}
	secrets := secretsOf(slices.Concat(objects, o.Secrets))
	said, last := "", errors.New("nothing was seen of it")
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		found, err := c.look(ctx, cluster, objects, nil)
		bad := unready(found)
		switch {
		case ctx.Err() != nil: // what the last look saw says more
		case err != nil && lasting(err) != err:
			return lasting(err)
		case err != nil:
			last = err
		case len(bad) == 0:
			return nil
		case bad[0].State == Failed:
			return driver.Permanent(errors.New(c.story(ctx, cluster, found, bad, secrets)))
		default:
			line := progress(found, bad, secrets)
			if last = errors.New(line); line != said && o.Log != nil {
				o.Log("waiting: %s", line)
			}
			said = line
		}
		if sleep(ctx, pause) {
			continue
		}
		if outer.Err() != nil {
			return fmt.Errorf("%w; last: %w", context.Cause(outer), last)
		}
		late, cancel := context.WithTimeout(outer, explainTime)
		defer cancel()
		return fmt.Errorf("%w within %s: %s", driver.ErrNotReady, time.Since(start).Round(time.Second), cmp.Or(c.story(late, cluster, found, bad, secrets), last.Error()))
	}
}

// story is the progress with the reasons; "" where nothing is known.
func (c *Checker) story(ctx context.Context, cluster Cluster, found, bad []finding, secrets masks) string {
	if len(bad) == 0 {
		return ""
	}
	line := progress(found, bad, secrets)
	if why := explain(ctx, cluster, bad, secrets, c.managers); why != "" {
		line += "; " + why
	}
	return line
}

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
