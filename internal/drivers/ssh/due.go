package ssh

import (
	"context"
	_ "embed"
	"fmt"
	"strings"

	"trueup.dev/trueup/internal/driver/setplan"
	"trueup.dev/trueup/internal/plan"
)

// Some objects act when others change: a handler runs, a unit restarts. Such
// an object is due when something that it waits for is going to change, or
// when a mark on the host says that it was due and was not dealt with. Marks
// are set before the first write of an apply, and taken away by what acts: a
// kill in between loses no restart.

// waiter is the desired state of an object that acts when others change.
type waiter interface {
	// due tells what to do after changes of others: a word, "" for nothing.
	due(changed []*object) string
	// calm gives the observed state of an object with the word.
	with(observed state, word string) state
}

// markPart is the name of the probe's part with the marks.
const markPart = "due"

// askMarks reads the marks of a host, once for all kinds.
func askMarks(p *probe) {
	p.part(markPart, `S=/var/lib/trueup/due; [ "$U" = 0 ] || S=$HOME/.trueup/due
for f in "$S"/*; do if [ -f "$f" ]; then read -r x <"$f"; echo "${f##*/} $x"; fi; done`)
}

// markOf gives the word that an object was marked with, "" for none.
func markOf(a *answer, addr plan.Address) string {
	for line := range strings.Lines(string(a.part(markPart))) {
		name, word, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == markName(addr) {
			return word
		}
	}
	return ""
}

// markName is an address as a file name.
func markName(a plan.Address) string {
	var b strings.Builder
	for _, c := range []byte(a) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.' && b.Len() > 0, c == '_', c == '-':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	return b.String()
}

// settle finds out which objects are due, and says so in what was observed.
func (s *set) settle(h *host, subs []subject, found []*object) {
	have := make(map[plan.Address]*object, len(found))
	for _, o := range found {
		have[o.Address] = o
	}
	var changed []*object
	waiting := false
	for _, sub := range subs {
		o := have[sub.address]
		if sub.want != nil {
			if _, ok := sub.want.State.(waiter); ok {
				waiting = true
			}
		}
		switch {
		case sub.want == nil && o != nil:
			changed = append(changed, o)
		case sub.want != nil && (o == nil || o.Kind != sub.want.Kind || s.hash(o) != s.hash(sub.want)):
			changed = append(changed, sub.want)
		}
	}
	if !waiting {
		return
	}
	for _, sub := range subs {
		o := have[sub.address]
		if sub.want == nil || o == nil {
			continue
		}
		w, ok := sub.want.State.(waiter)
		if !ok {
			continue
		}
		word := w.due(changed)
		if mark := markOf(h.answer, sub.address); mark != "" && word != dueRestart {
			word = mark
		}
		if word != "" {
			o.State = w.with(o.State, word)
		}
	}
}

// Words for what is due.
const (
	dueRestart = "restart"
	dueReload  = "reload"
	dueRun     = "run"
	dueReboot  = "reboot"
)

// marks gives the shell text that marks what is due in some steps.
func marks(steps []step) string {
	var b strings.Builder
	for _, st := range steps {
		if st.Old == nil || st.New == nil {
			continue
		}
		if d, ok := st.Old.Value.State.(interface{ isDue() string }); ok && d.isDue() != "" {
			word := d.isDue()
			if r, ok := d.(*rebootState); ok {
				word += ":" + r.name
			}
			fmt.Fprintf(&b, "mark %s %s\n", quote(markName(st.Change.Address)), quote(word))
		}
	}
	return b.String()
}

// mark sets the marks of a host's apply before its first write.
func (s *set) mark(ctx context.Context, h *host) error {
	if h.marks == "" {
		return nil
	}
	sc := newScript()
	sc.WriteString(kindsLib + h.marks)
	h.marks = ""
	_, err := runScript(ctx, h.t, sc, false, maxAnswer)
	if err != nil {
		return fmt.Errorf("%w: what is due could not be marked: %w", setplan.ErrSkipped, err)
	}
	return nil
}

// notified tells whether one of the changed objects names a handler.
func notified(changed []*object, name string) bool {
	for _, o := range changed {
		for _, n := range o.Notify {
			if n == name {
				return true
			}
		}
	}
	return false
}

// touched tells whether one of the changed objects is a path that globs match.
func touchedPath(changed []*object, globs []string) bool {
	for _, o := range changed {
		switch o.Kind {
		case kindFile, kindDir, kindSymlink, kindOther, kindBlock:
			if matchAny(globs, pathOf(o.Address)) {
				return true
			}
		case kindArtefact:
			if matchAny(globs, nameOf(o.Address)) {
				return true
			}
		}
	}
	return false
}

// functions adds the shell functions of the kinds beside files, once.
func (w *writer) functions() {
	if !w.kinds {
		w.kinds = true
		w.WriteString(kindsLib)
	}
}

//go:embed kinds.sh
var kindsText string

var kindsLib = bare(kindsText)

// newState and oldState give what a step goes to and comes from, nil for nothing.
func newState(st step) state {
	if st.New == nil {
		return nil
	}
	return st.New.Value.State
}

func oldState(st step) state {
	if st.Old == nil {
		return nil
	}
	return st.Old.Value.State
}
