package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/edit"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

// liveValue is a declared field that the environment has changed by itself.
type liveValue struct {
	Index int          `json:"index"` // in the target's writeBack
	Scope plan.Scope   `json:"scope,omitempty"`
	Addr  plan.Address `json:"address"`
	Field string       `json:"field"`
	Value edit.Value   `json:"value"`
}

// leave takes out of a plan what the environment may change by itself: drift
// that is confined to declared fields. It gives the values that are there.
func (j *job) leave(p *plan.Plan) []liveValue {
	if len(j.res.WriteBack) == 0 || j.mode != plan.Apply || j.policy.WriteBack == "off" {
		return nil
	}
	var live []liveValue
	left := map[plan.Key]bool{}
	p.Changes = slices.DeleteFunc(slices.Clone(p.Changes), func(c plan.Change) bool {
		if c.Action != plan.Update || c.Reason != plan.ByDrift || c.Conflict != "" {
			return false
		}
		found := confined(&c, j.res.WriteBack)
		live = append(live, found...)
		left[c.Key] = left[c.Key] || len(found) > 0
		return len(found) > 0
	})
	forgetBases(p, left)
	return live
}

// forgetBases takes the bases of changes out of a plan that are no longer in
// it: the base covers what the plan touches, nothing else.
func forgetBases(p *plan.Plan, left map[plan.Key]bool) {
	if len(left) == 0 {
		return
	}
	p.Scopes = slices.Clone(p.Scopes)
	for i := range p.Scopes {
		s := &p.Scopes[i]
		s.Base = maps.Clone(s.Base)
		maps.DeleteFunc(s.Base, func(a plan.Address, _ string) bool { return left[plan.Key{Scope: s.Scope, Address: a}] })
	}
}

// confined gives the declared fields that differ, when nothing else does.
func confined(c *plan.Change, declared []config.WriteBack) []liveValue {
	var before, after any
	if decodeNumbers(c.Before, &before) != nil || decodeNumbers(c.After, &after) != nil {
		return nil
	}
	var out []liveValue
	for i, w := range declared {
		if w.Address != c.Address || w.Scope != "" && w.Scope != c.Scope || hidden(c, w.Field) {
			continue
		}
		was, setWas, ok := pointed(before, w.Field)
		want, setWant, ok2 := pointed(after, w.Field)
		if !ok || !ok2 || reflect.DeepEqual(was, want) {
			continue
		}
		v, ok := scalarOf(was)
		if _, single := scalarOf(want); !ok || !single {
			return nil
		}
		out = append(out, liveValue{Index: i, Scope: c.Scope, Addr: c.Address, Field: w.Field, Value: v})
		setWas(nil)
		setWant(nil)
	}
	if len(out) == 0 || !reflect.DeepEqual(before, after) {
		return nil
	}
	return out
}

// hidden tells whether a field is, holds or lies in a sensitive value: such a
// one is never written into a repository.
func hidden(c *plan.Change, field string) bool {
	return slices.ContainsFunc(c.Sensitive, func(s string) bool {
		return s == field || strings.HasPrefix(field, s+"/") || strings.HasPrefix(s, field+"/") || s == ""
	})
}

func decodeNumbers(raw json.RawMessage, into *any) error {
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	return d.Decode(into)
}

// pointed finds the value that a JSON pointer names, with what sets it.
func pointed(doc any, pointer string) (value any, set func(any), ok bool) {
	value = doc
	for part := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		part = strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
		switch v := value.(type) {
		case map[string]any:
			next, there := v[part]
			if !there {
				return nil, nil, false
			}
			value, set = next, func(x any) { v[part] = x }
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(v) {
				return nil, nil, false
			}
			value, set = v[i], func(x any) { v[i] = x }
		default:
			return nil, nil, false
		}
	}
	return value, set, true
}

func scalarOf(v any) (edit.Value, bool) {
	switch v := v.(type) {
	case string:
		return edit.Value{Text: v, Kind: edit.String}, true
	case json.Number:
		return edit.Value{Text: v.String(), Kind: edit.Number}, true
	case bool:
		return edit.Value{Text: strconv.FormatBool(v), Kind: edit.Bool}, true
	}
	return edit.Value{}, false
}

// noteLive keeps what the environment changed by itself, and asks for it to be
// proposed. Once it is gone the record goes too.
func (j *job) noteLive(ctx context.Context, live []liveValue) error {
	if len(j.res.WriteBack) == 0 || j.correction || j.lease.Kind != store.Reconcile || j.desired.Source == "local" {
		return nil
	}
	old, err := j.e.store.Edit(ctx, store.LiveValues, j.target.ID)
	missing := errors.Is(err, store.ErrNotFound)
	if err != nil && !missing {
		return err
	}
	if len(live) == 0 {
		if missing {
			return nil
		}
		if err := j.e.store.DropEdit(ctx, j.lease.Fence, store.LiveValues, j.target.ID); err != nil {
			return err
		}
		return j.e.wantProposals(ctx, j.target.Repository, store.ByClock, "writeback", "system:writeback")
	}
	body, err := json.Marshal(live)
	if err != nil {
		return err
	}
	digest := digestOf(body)
	if !missing && old.Digest == digest {
		return nil
	}
	now := store.Edit{Kind: store.LiveValues, Target: j.target.ID, Repository: j.target.Repository, Digest: digest, Values: body, Run: j.run.ID, Since: j.e.clock()}
	if err := j.e.store.PutEdit(ctx, j.lease.Fence, now); err != nil {
		return err
	}
	for _, l := range live {
		j.log.Logf("%s: the environment has set %s to %s, as it may; it is left so and written back", l.Addr, l.Field, l.Value.Text)
	}
	return j.e.wantProposals(ctx, j.target.Repository, store.ByPush, "writeback", "system:writeback")
}

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// wantProposals asks for the work that writes into a repository.
func (e *Engine) wantProposals(ctx context.Context, repository string, class store.Class, cause string, by store.Actor) error {
	return e.store.Trigger(ctx, store.Trigger{Kind: store.Propose, Key: repository, Slot: proposeSlot(repository), Class: class, Cause: cause, Actor: by})
}

func proposeSlot(repository string) string { return "propose:" + repository }

// liveChanges gives what would have to change in Git for the live values.
func (e *Engine) liveChanges(ctx context.Context, g *ground, res *config.Resolved, live []liveValue) ([]edit.Change, error) {
	var out []edit.Change
	for _, l := range live {
		if l.Index >= len(res.WriteBack) || res.WriteBack[l.Index].Address != l.Addr || res.WriteBack[l.Index].Field != l.Field {
			return nil, nil // the declaration has changed; the next run says what counts
		}
		place, have, err := g.read(ctx, g.head, res.Path, res.WriteBack[l.Index].Place())
		if err != nil {
			return nil, err
		}
		if !have.Equal(l.Value) {
			out = append(out, edit.Change{Target: res.ID, Field: fmt.Sprintf("%s %s", l.Addr, l.Field), File: place.File, From: have, To: l.Value, Place: place})
		}
	}
	return out, nil
}

// writeBackDraft words a write-back.
func writeBackDraft(res *config.Resolved, live store.Edit, changes []edit.Change) draft {
	_, name, _ := strings.Cut(res.ID, "/")
	d := draft{branch: ownBranches + "write-back/" + branchPart(name), changes: changes, labels: []string{"trueup"},
		subject:  "Take over live values of " + name,
		trailers: []string{"Trueup-Write-Back: " + res.ID, "Trueup-Environment: " + res.Environment, "Trueup-Run: " + live.Run}}
	var b strings.Builder
	fmt.Fprintf(&b, "The environment **%s** has changed these fields by itself, as `writeBack` in %s allows. They are left as they are; this brings Git in line with them.\n\n", res.Environment, res.Manifest)
	b.WriteString("| Object and field | File | In Git | Live |\n| --- | --- | --- | --- |\n")
	for _, c := range changes {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", cell(c.Field), cell(c.File), cell(c.From.Text), cell(c.To.Text))
	}
	fmt.Fprintf(&b, "\nSeen by run %s. The text and the branch follow the live values. Closing this means no: the same values are not proposed again.\n", live.Run)
	d.body = b.String()
	return d
}
