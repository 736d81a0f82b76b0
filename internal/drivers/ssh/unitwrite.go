package ssh

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// write brings units to their state: first all files, then one daemon-reload,
// then each unit. Units that go are stopped and switched off before.
func (unitKind) write(w *writer, steps []step) {
	w.functions()
	for _, st := range steps {
		if st.New == nil {
			w.unitGoes(st)
		}
	}
	for _, st := range steps {
		if st.New != nil {
			w.unitFile(st)
		}
	}
	w.WriteString("systemctl daemon-reload\n")
	for _, st := range steps {
		if st.New != nil {
			fmt.Fprintf(w, "if [ -z \"$M%d\" ]; then\n", w.id(st))
			w.try([]step{st}, unitCommands(st)...)
			fmt.Fprintf(w, "else told %d \"$M%[1]d\"; fi\n", w.id(st))
		}
	}
}

// unitFile writes the unit's file, if it is ours and differs. What went wrong
// stands in $M and the step's number.
func (w *writer) unitFile(st step) {
	fmt.Fprintf(w, "M%d=\n", w.id(st))
	s, ok := st.New.Value.State.(*unitState)
	if !ok || s.Content == nil {
		return
	}
	sum, have := "", ""
	if st.Old != nil {
		if old, ok := st.Old.Value.State.(*unitState); ok && old.Content != nil {
			if *old.Content == *s.Content {
				return
			}
			sum = old.sum
			if sum == "" {
				h := sha256.Sum256([]byte(*old.Content))
				sum = hex.EncodeToString(h[:])
			}
			have = "1"
		}
	}
	name := unitName(st.Change.Address)
	check := "free ../" + quote(name)
	if have != "" {
		check = "sum " + sum + " ../" + quote(name)
	}
	fmt.Fprintf(w, "M%d=$(enter %s && mine && stage && %s && %s | put 644 %s) || M%[1]d=${M%[1]d:-it could not be written}\n",
		w.id(st), unitDir, check, inline([]byte(*s.Content)), quote(name))
}

// unitGoes stops a unit of ours and removes its file, if that is what it was.
func (w *writer) unitGoes(st step) {
	name := quote(unitName(st.Change.Address))
	check := "mine"
	if old, ok := oldState(st).(*unitState); ok && old.sum != "" {
		check += " && sum " + old.sum + " ./" + name
	}
	w.try([]step{st}, "enter "+unitDir, check, "systemctl disable --now -- "+name, "rm -f -- ./"+name, "systemctl daemon-reload", "{ systemctl reset-failed -- "+name+" 2>/dev/null || :; }")
}

// unitCommands are what brings a unit to its state once its file is there.
func unitCommands(st step) []string {
	s, ok := st.New.Value.State.(*unitState)
	if !ok {
		return []string{"false"}
	}
	old := &unitState{}
	if st.Old != nil {
		if o, ok := st.Old.Value.State.(*unitState); ok {
			old = o
		}
	}
	name := quote(unitName(st.Change.Address))
	is := func(b *bool, v bool) bool { return b != nil && *b == v }
	var out []string
	if is(s.Masked, true) {
		return []string{"systemctl mask --now -- " + name}
	}
	if is(old.Masked, true) {
		out = append(out, "systemctl unmask -- "+name)
	}
	changed := s.Content != nil && (old.Content == nil || *old.Content != *s.Content)
	switch {
	case is(s.Enabled, true) && changed:
		out = append(out, "systemctl reenable -- "+name)
	case is(s.Enabled, true):
		out = append(out, "systemctl enable -- "+name)
	case is(s.Enabled, false):
		out = append(out, "systemctl disable -- "+name)
	}
	running := is(old.Running, true)
	switch {
	case is(s.Running, false):
		out = append(out, "systemctl stop -- "+name)
	case is(s.Running, true) && running && (changed || old.Due == dueRestart):
		out = append(out, "started "+name+" restart")
	case is(s.Running, true) && running && old.Due == dueReload:
		out = append(out, "started "+name+" reload-or-restart")
	case is(s.Running, true):
		out = append(out, "started "+name+" start")
	case changed || old.Due == dueRestart:
		out = append(out, "systemctl try-restart -- "+name)
	case old.Due == dueReload:
		out = append(out, "systemctl try-reload-or-restart -- "+name)
	}
	return append(out, "unmark "+quote(markName(st.Change.Address)))
}
