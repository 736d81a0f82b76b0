package stage

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/plan"
)

// HookClass is the class of hooks in plans and inventories. An inventory's
// entry of this class tells for which desired state the hook ran last; its
// object may be gone, or be another one by now.
const HookClass = "hook"

// Digest stands for all that a target asks for. A hook that ran for it does not
// run for it again. The key keeps what is secret from being guessed.
func Digest(key []byte, objects []manifest.Object) (string, error) {
	sums := make([]string, len(objects))
	for i := range objects {
		body, err := json.Marshal(objects[i].Unstructured)
		if err != nil {
			return "", fmt.Errorf("%s: %w", objects[i].Ref(), err)
		}
		m := hmac.New(sha256.New, key)
		m.Write(body)
		sums[i] = string(objects[i].Ref().Address()) + " " + hex.EncodeToString(m.Sum(nil))
	}
	slices.Sort(sums)
	m := hmac.New(sha256.New, key)
	for _, s := range sums {
		m.Write([]byte(s + "\n"))
	}
	return hex.EncodeToString(m.Sum(nil)), nil
}

// Moment is what decides whether hooks run.
type Moment struct {
	// Digest is that of what is desired now.
	Digest string
	// Installed tells that the target was applied before.
	Installed bool
	// Changes tells that the plan has other writes, which a commit asks for.
	// Drift that is corrected runs no hook.
	Changes bool
}

// Now gives the moment of a plan. Hooks are the keys of its hooks.
func Now(p *plan.Plan, owned driver.Inventory, digest string, hooks map[plan.Key]Hook) Moment {
	m := Moment{Digest: digest}
	for _, o := range owned {
		settled := !o.Pending || o.Hash != ""
		m.Installed = m.Installed || settled && o.Class != HookClass && !namespace(o.Key)
	}
	for i := range p.Changes {
		c := &p.Changes[i]
		if _, hook := hooks[c.Key]; hook || owned[c.Key].Class == HookClass {
			continue
		}
		m.Changes = m.Changes || c.Action.Writes() && c.Reason != plan.ByDrift
		m.Installed = m.Installed || len(c.Before) > 0 && c.Action != plan.Delete && !namespace(c.Key)
	}
	for k, h := range hooks {
		if o := owned[k]; h.Install != "" && h.Upgrade == "" && o.Pending && o.Hash == "" {
			m.Installed = false // the first apply did not come to its end
		}
	}
	return m
}

// namespace tells an object that others bring along, which says nothing about
// whether the target was installed.
func namespace(k plan.Key) bool { return strings.HasPrefix(string(k.Address), "Namespace/") }

// Due gives the phase in which a hook has to run now, "" for none. A hook runs
// once for a desired state, and only beside other writes. One that was to run
// and did not get to its end stays due until it did.
func (m Moment) Due(h *Hook, was driver.Owned) Phase {
	phase := h.At(m.Installed)
	switch {
	case phase == "" || was.Hash == m.Digest:
		return ""
	case m.Changes, was.Pending && phase != SyncFail:
		return phase
	}
	return ""
}

// Settle leaves those hooks in a plan that have to run, and says of them when
// they do. The plan has a change for every hook, as if none was there.
func Settle(p *plan.Plan, owned driver.Inventory, digest string, hooks map[plan.Key]Hook) {
	if len(hooks) == 0 {
		return
	}
	m := Now(p, owned, digest, hooks)
	p.Changes = slices.DeleteFunc(p.Changes, func(c plan.Change) bool {
		h, hook := hooks[c.Key]
		return hook && m.Due(&h, owned[c.Key]) == ""
	})
	for i := range p.Changes {
		c := &p.Changes[i]
		if h, hook := hooks[c.Key]; hook {
			c.Note = "runs as a hook: " + when[m.Due(&h, owned[c.Key])]
			if h.OnFailure {
				c.Note += ", and when the sync fails"
			}
		}
	}
}

var when = map[Phase]string{
	PreSync:  "before the other objects (PreSync)",
	Sync:     "among the other objects (Sync)",
	PostSync: "after the other objects are healthy (PostSync)",
	SyncFail: "only when the sync fails (SyncFail)",
}
