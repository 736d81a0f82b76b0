package ssh

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	yaml "go.yaml.in/yaml/v3"

	"trueup.dev/trueup/internal/plan"
)

// packageKind is packages of the host's own package manager: apt, dnf or apk.
type packageKind struct{}

const kindPackage = "package"

type packageEntry struct {
	// State is present (the default) or absent.
	State string `yaml:"state,omitempty"`
	// Version is a version, or a glob of it such as 1.22.*.
	Version string `yaml:"version,omitempty"`
	// Held keeps the version when all packages are brought up to date (apt).
	Held *bool `yaml:"held,omitempty"`
}

// packageState is what is installed.
type packageState struct {
	Installed bool   `json:"installed"`
	Version   string `json:"version,omitempty"`
	Held      *bool  `json:"held,omitempty"`
	// Broken tells that it is half installed.
	Broken bool `json:"broken,omitempty"`

	manager string
	held    bool // whatever is asked for
}

func (packageKind) info() kindInfo {
	return kindInfo{names: []string{kindPackage}, sections: []string{"packages"}, class: "package", rank: rankPackage,
		blank: func(string) state { return &packageState{} }}
}

func (s *packageState) ident() string {
	return identOf([]any{s.Installed, s.Version, s.Held, s.Broken})
}
func (s *packageState) show() (any, []string) { return s, nil }

var (
	packagePattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9+._-]{0,127}(:[a-z0-9-]{1,32})?$`)
	versionPattern = regexp.MustCompile(`^[A-Za-z0-9*][A-Za-z0-9*+.:~_-]{0,127}$`)
)

func (packageKind) parse(p *parser, e entry) []*object {
	var y packageEntry
	n := p.Errors()
	if e.value.Kind == yaml.ScalarNode {
		p.Decode(e.value, &y.State, e.field)
	} else {
		p.Decode(e.value, &y, e.field)
	}
	// With a minus at its end apt-get takes it for one that is to go.
	if !packagePattern.MatchString(e.name) || strings.HasSuffix(e.name, "-") {
		p.Errorf(e.key, e.field, "", "%q is no name of a package", e.name)
	}
	if y.Version != "" && (!versionPattern.MatchString(y.Version) || strings.HasPrefix(y.Version, "-")) {
		p.Errorf(e.value, e.field+".version", "for example 1.22.1-9, or 1.22.*", "%q is no version", y.Version)
	}
	switch y.State {
	case "", "present":
	case "absent":
		if y.Version != "" || y.Held != nil {
			p.Errorf(e.value, e.field+".state", "leave version and held out", "a package that is absent has no version and is not held")
		}
	default:
		p.Errorf(e.value, e.field, "write present, absent or {version: …}", "%q is unknown", y.State)
	}
	if p.Errors() > n {
		return nil
	}
	return []*object{{Kind: kindPackage, Address: plan.Address(kindPackage + ":" + e.name), TakeOver: true,
		State: &packageState{Installed: y.State != "absent", Version: y.Version, Held: y.Held}}}
}

// packageProbe asks the package manager's own records; %s are the names.
const packageProbe = `if command -v dpkg-query >/dev/null 2>&1; then
echo apt
dpkg-query -W -f=%s -- %[2]s 2>/dev/null
x=$?
[ $x -le 1 ] || echo "dpkg-query failed with $x"
elif command -v rpm >/dev/null 2>&1; then
echo dnf
rpm -q --qf %[3]s -- %[2]s
elif [ -r /lib/apk/db/installed ]; then
echo apk
cat /lib/apk/db/installed
else
echo none
fi`

func (packageKind) look(p *probe, subjects []subject) {
	names := make([]string, len(subjects))
	for i, sub := range subjects {
		names[i] = nameOf(sub.address)
	}
	p.part("packages", fmt.Sprintf(packageProbe, quote(dpkgFormat), quoteAll(names), quote(rpmFormat)))
}

// packagesOf reads the answer: which package manager, and what is there.
func packagesOf(a *answer) (string, map[string]pkg, error) {
	manager, text, _ := strings.Cut(string(a.part("packages")), "\n")
	var found map[string]pkg
	var err error
	switch manager {
	case "apt":
		found, err = parseDpkg(text)
	case "dnf":
		found, err = parseRPM(text)
	case "apk":
		found, err = parseAPK(text)
	default:
		err = errors.New("packages are asked for, but the host has none of apt, dnf and apk")
	}
	return manager, found, err
}

func (packageKind) observe(a *answer, subjects []subject) ([]*object, error) {
	manager, found, err := packagesOf(a)
	if err != nil {
		return nil, err
	}
	var out []*object
	for _, sub := range subjects {
		want, ok := stateAs[*packageState](sub.want)
		if !ok {
			continue // a package that nobody asks for any more stays as it is
		}
		have := found[nameOf(sub.address)]
		if want.Installed && !have.Installed && !have.Broken {
			continue // to be installed
		}
		st := &packageState{Installed: have.Installed, Broken: have.Broken, manager: manager, held: have.Held}
		if want.Version != "" {
			st.Version = have.Version
			if versionFits(want.Version, have.Version) {
				st.Version = want.Version
			}
		}
		if want.Held != nil {
			st.Held = &have.Held
		}
		if !want.Installed && !have.Broken {
			st.Version, st.Held = "", nil
		}
		out = append(out, &object{Kind: kindPackage, Address: sub.address, State: st})
	}
	return out, nil
}

// versionFits compares a version with what is asked for; * stands for anything.
func versionFits(want, have string) bool {
	if want == have {
		return true
	}
	ok, err := path.Match(want, strings.ReplaceAll(have, "/", ""))
	return err == nil && ok
}

// note marks the change: the package manager decides what else comes along.
func (packageKind) note(c *plan.Change, _, _ *object) {
	if c.Action.Writes() {
		c.Simulated = true
		c.Note = "the package manager decides which other packages come along"
	}
}

func (packageKind) write(w *writer, steps []step) {
	w.functions()
	manager, _, err := packagesOf(w.host.answer)
	if err != nil {
		w.try(steps, "{ echo "+quote(err.Error())+"; false; }")
		return
	}
	if manager != "apt" {
		for _, st := range steps {
			w.try([]step{st}, otherPackage(manager, st)...)
		}
		return
	}
	// All of them at once, and each alone if that fails: one bad package does
	// not stop the others.
	var together []string
	options := aptOptions(steps)
	for _, st := range steps {
		together = append(together, aptWord(st))
	}
	gone := quote(strings.Join(leavingPackages(steps), " "))
	fmt.Fprintf(w, "A=\n")
	if len(steps) > 1 {
		fmt.Fprintf(w, "if apt %s %s %s >/dev/null 2>&1; then A=1; fi\n", gone, options, quoteAll(together))
	}
	for i, st := range steps {
		cmds := []string{"{ [ \"$A\" ] || apt " + gone + " " + aptOptions([]step{st}) + " " + quote(together[i]) + "; }"}
		w.try([]step{st}, append(cmds, aptAfter(st)...)...)
	}
}

// leavingPackages gives the packages that are asked to go.
func leavingPackages(steps []step) []string {
	var out []string
	for _, st := range steps {
		if s, ok := newState(st).(*packageState); !ok || !s.Installed {
			out = append(out, nameOf(st.Change.Address))
		}
	}
	return out
}

// aptWord gives a package as apt-get install takes it: NAME, NAME=VERSION, NAME-.
func aptWord(st step) string {
	name := nameOf(st.Change.Address)
	s, ok := newState(st).(*packageState)
	switch {
	case !ok || !s.Installed:
		return name + "-"
	case s.Version != "":
		return name + "=" + s.Version
	}
	return name
}

// aptOptions allows what the steps ask for in so many words.
func aptOptions(steps []step) string {
	var out []string
	for _, st := range steps {
		s, ok := newState(st).(*packageState)
		old, had := oldState(st).(*packageState)
		if ok && s.Version != "" {
			out = append(out, "--allow-downgrades")
		}
		if had && old.held {
			out = append(out, "--allow-change-held-packages")
		}
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), " ")
}

// aptAfter holds, and makes sure that the package is what it should be.
func aptAfter(st step) []string {
	name := quote(nameOf(st.Change.Address))
	s, ok := newState(st).(*packageState)
	if !ok || !s.Installed {
		return []string{"{ ! installed " + name + " || { echo 'it is still installed'; false; }; }"}
	}
	out := []string{"{ installed " + name + " || { echo 'apt-get ended well, but the package is not installed'; false; }; }"}
	if s.Held != nil {
		verb := "unhold"
		if *s.Held {
			verb = "hold"
		}
		out = append(out, "apt-mark "+verb+" "+name)
	}
	return out
}

// otherPackage gives the commands of dnf and apk.
func otherPackage(manager string, st step) []string {
	name := nameOf(st.Change.Address)
	s, ok := newState(st).(*packageState)
	install := ok && s.Installed
	if ok && s.Held != nil {
		return []string{"{ echo " + quote("held is for apt; "+manager+" has no such thing") + "; false; }"}
	}
	switch {
	case manager == "dnf" && !install:
		// Dnf would take along what needs it.
		return []string{"rpm -e --test -- " + quote(name), "within 1800 dnf -q -y remove -- " + quote(name)}
	case manager == "dnf" && s.Version != "":
		word := quote(name + "-" + s.Version)
		return []string{"{ within 1800 dnf -q -y install -- " + word + " && rpm -q -- " + quote(name) + " || within 1800 dnf -q -y downgrade -- " + word + "; }"}
	case manager == "dnf":
		return []string{"within 1800 dnf -q -y install -- " + quote(name)}
	case !install:
		return []string{"within 1800 apk del --quiet " + quote(name)}
	case s.Version != "":
		op := "="
		version := s.Version
		if strings.HasSuffix(version, "*") {
			op, version = "~", strings.TrimRight(version, ".*")
		}
		return []string{"within 1800 apk add --quiet " + quote(name+op+version)}
	}
	return []string{"within 1800 apk add --quiet " + quote(name)}
}
