package ssh

import (
	"fmt"
	"path"
	"strings"

	yaml "go.yaml.in/yaml/v3"

	"trueup.dev/trueup/internal/plan"
)

// sysctlKind is kernel settings: their value now, and the file that keeps it.
type sysctlKind struct{}

const kindSysctl = "sysctl"

// sysctlState is a setting.
type sysctlState struct {
	Value string `json:"value"`
	// Kept is the value in the file that is read when the host starts.
	Kept string `json:"kept"`

	file string // the observed file's content
	sum  string
	// there tells that the file is there.
	there bool
}

func (sysctlKind) info() kindInfo {
	return kindInfo{names: []string{kindSysctl}, sections: []string{"sysctl"}, class: "setting", rank: rankSetting,
		blank: func(string) state { return &sysctlState{} }}
}

func (s *sysctlState) ident() string         { return identOf([]string{s.Value, s.Kept}) }
func (s *sysctlState) show() (any, []string) { return s, nil }

func (sysctlKind) parse(p *parser, e entry) []*object {
	name, err := sysctlPath(e.name)
	if err != nil {
		p.Errorf(e.key, e.field, "write it as sysctl does, for example net.ipv4.ip_forward", "%v", err)
		return nil
	}
	value := sysctlValue(e.value.Value)
	if e.value.Kind != yaml.ScalarNode || value == "" || strings.ContainsAny(e.value.Value, "\n\x00") || len(value) > 1000 {
		p.Errorf(e.value, e.field, "give its value, for example 1", "expected one line")
		return nil
	}
	return []*object{{Kind: kindSysctl, Address: plan.Address(kindSysctl + ":" + name), TakeOver: true,
		State: &sysctlState{Value: value, Kept: value}}}
}

func (sysctlKind) look(p *probe, subjects []subject) {
	var b strings.Builder
	for _, sub := range subjects {
		name := nameOf(sub.address)
		p.content(sysctlFile(name))
		at := quote("/proc/sys/" + name)
		fmt.Fprintf(&b, "if [ -r %s ]; then v=$(cat %[1]s 2>/dev/null); v=y$v; else v=n; fi\necho ${#v}\nprintf '%%s\\n' \"$v\"\n", at)
	}
	p.part("sysctl", b.String()+"echo -")
}

func (sysctlKind) observe(a *answer, subjects []subject) ([]*object, error) {
	values, err := framed(a.part("sysctl"))
	if err != nil || len(values) != len(subjects) {
		return nil, fmt.Errorf("kernel settings: %w", errMoved)
	}
	var out []*object
	for i, sub := range subjects {
		file := sysctlFile(nameOf(sub.address))
		content, there := a.content(file)
		st := &sysctlState{there: there, file: string(content)}
		if there {
			st.Kept = keptValue(string(content), nameOf(sub.address))
			st.sum = a.path(file).Sum
		} else if a.path(file) != nil {
			return nil, fmt.Errorf("%s is there, but is no small file", file)
		}
		if sub.want == nil {
			// The file goes; what the kernel had before is not known.
			if !there {
				continue
			}
			st.Value = sysctlValue(strings.TrimPrefix(values[i], "y"))
			out = append(out, &object{Kind: kindSysctl, Address: sub.address, State: st})
			continue
		}
		value, known := strings.CutPrefix(values[i], "y")
		if !known {
			continue // the kernel has no such setting: writing will say so
		}
		st.Value = sysctlValue(value)
		out = append(out, &object{Kind: kindSysctl, Address: sub.address, State: st})
	}
	return out, nil
}

// keptValue reads the file as we write it; anything else counts as different.
func keptValue(text, name string) string {
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(line, "=")
		if ok && strings.TrimSpace(key) == name && text == sysctlText(name, sysctlValue(value)) {
			return sysctlValue(value)
		}
	}
	return "(changed by hand)"
}

func sysctlText(name, value string) string {
	return cronHeader + "\n" + name + " = " + value + "\n"
}

func (sysctlKind) write(w *writer, steps []step) {
	w.functions()
	for _, st := range steps {
		name := nameOf(st.Change.Address)
		dir, base := path.Split(sysctlFile(name))
		dir = strings.TrimSuffix(dir, "/")
		old, _ := oldState(st).(*sysctlState)
		s, ok := newState(st).(*sysctlState)
		if !ok {
			w.try([]step{st}, "enter "+dir, "mine", "sum "+old.sum+" ./"+quote(base), "rm -f -- ./"+quote(base))
			continue
		}
		at := quote("/proc/sys/" + name)
		var cmds []string
		if old == nil || old.Value != s.Value {
			cmds = append(cmds, "{ [ -e "+at+" ] || { echo "+quote("the kernel has no setting "+name)+"; false; }; }",
				"printf '%s\\n' "+quote(s.Value)+" >"+at)
		}
		if old == nil || old.Kept != s.Kept {
			check := "free ../" + quote(base)
			if old != nil && old.there {
				check = "sum " + old.sum + " ../" + quote(base)
			}
			cmds = append(cmds, "{ [ -d "+dir+" ] || mkdir -m 755 "+dir+"; }", "enter "+dir, "mine", "stage", check,
				inline([]byte(sysctlText(name, s.Kept)))+" | put 644 "+quote(base))
		}
		if len(cmds) == 0 {
			cmds = []string{":"}
		}
		w.try([]step{st}, cmds...)
	}
}
