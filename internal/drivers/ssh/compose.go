package ssh

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	yaml "go.yaml.in/yaml/v3"

	"trueup.dev/trueup/internal/plan"
)

// composeKind is Docker or Podman Compose projects: a file, and services that
// run as it says. The engine decides what that means in detail, so changes are
// marked as simulated.
type composeKind struct{}

const (
	kindCompose = "compose"
	composeFile = "compose.yaml"
)

type composeEntry struct {
	File     string   `yaml:"file,omitempty"`
	Template string   `yaml:"template,omitempty"`
	Dir      string   `yaml:"dir,omitempty"`
	Pull     bool     `yaml:"pull,omitempty"`
	Watch    []string `yaml:"watch,omitempty" strict:"one"`
	// Once lists services that end by themselves.
	Once []string `yaml:"once,omitempty" strict:"one"`
}

// composeState is a project as it is.
type composeState struct {
	Dir     string   `json:"dir"`
	Content string   `json:"content"`
	Running []string `json:"running"`
	Due     string   `json:"due,omitempty"`
	// Secret tells that the content is not shown: it holds a secret value, or
	// is that of others.
	Secret bool `json:"sensitive,omitempty"`

	project string
	tmpl    *tmpl
	pull    bool
	watch   []string
	once    []string
	program []string
	sum     string
	there   bool
}

func (composeKind) info() kindInfo {
	return kindInfo{names: []string{kindCompose}, sections: []string{"compose"}, class: "project", rank: rankService + 50,
		blank: func(string) state { return &composeState{} }}
}

func (s *composeState) ident() string {
	return identOf([]any{s.Dir, s.Content, s.Running, s.Due})
}

func (s *composeState) show() (any, []string) {
	if s.Secret {
		return s, []string{"/content"}
	}
	return s, nil
}

func (s *composeState) isDue() string { return s.Due }

var projectPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

func (composeKind) parse(p *parser, e entry) []*object {
	var y composeEntry
	n := p.Errors()
	p.Decode(e.value, &y, e.field)
	if !projectPattern.MatchString(e.name) {
		p.Errorf(e.key, e.field, "use lower case letters, digits, - and _", "%q is no name of a project", e.name)
	}
	if y.Dir == "" {
		y.Dir = "/srv/compose/" + e.name
	}
	if !path.IsAbs(y.Dir) || path.Clean(y.Dir) != y.Dir || y.Dir == "/" {
		p.Errorf(e.value, e.field+".dir", "", "%q is no directory on a host", y.Dir)
	}
	for _, g := range y.Watch {
		if !strings.HasPrefix(g, "/") || !doublestar.ValidatePattern(g) {
			p.Errorf(e.value, e.field+".watch", "write paths on the host", "%q is no glob of an absolute path", g)
		}
	}
	s := &composeState{Dir: y.Dir, project: e.name, pull: y.Pull, watch: y.Watch, once: y.Once}
	if (y.File == "") == (y.Template == "") {
		p.Errorf(e.value, e.field, "name a compose file beside the document", "give one of file and template")
		return nil
	}
	field, name := "file", y.File
	if y.Template != "" {
		field, name = "template", y.Template
	}
	full, ok := p.source(e, field, name)
	if !ok {
		return nil
	}
	b, err := p.bytes(full, maxUnit)
	if err != nil {
		p.Errorf(e.value, e.field+"."+field, "", "%v", err)
		return nil
	}
	at := plan.Source{File: full, Line: 1}
	if y.Template != "" {
		t, err := parseTemplate(string(b), at)
		if err != nil {
			p.Add(templateError(err, at, e.field+".template"))
			return nil
		}
		p.uses(t)
		s.tmpl = t
	} else if err := s.fill(string(b)); err != nil {
		p.Diags.Errorf(at, "", "", "%v", err)
	}
	if p.Errors() > n {
		return nil
	}
	return []*object{{Kind: kindCompose, Address: plan.Address(kindCompose + ":" + e.name), State: s}}
}

// fill takes the file, and works out which services have to run.
func (s *composeState) fill(text string) error {
	var doc struct {
		Services map[string]struct {
			Profiles []string `yaml:"profiles"`
		} `yaml:"services"`
	}
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		return fmt.Errorf("this is no compose file: %w", err)
	}
	if len(doc.Services) == 0 {
		return errors.New("the compose file has no services")
	}
	s.Content, s.Running = text, []string{}
	for name, svc := range doc.Services {
		if len(svc.Profiles) == 0 && !slices.Contains(s.once, name) {
			s.Running = append(s.Running, name)
		}
	}
	slices.Sort(s.Running)
	return nil
}

// resolve fills the template in and asks for the operator's program.
func (s *composeState) resolve(h *host) (state, error) {
	if len(h.compose) == 0 {
		return nil, errors.New("a Compose project is asked for, but the environment names no program for it: connect.compose, for example [/usr/bin/docker, compose]")
	}
	with := *s
	with.program = h.compose
	if s.tmpl != nil {
		out, err := s.tmpl.render(h)
		if err != nil {
			return nil, err
		}
		with.Secret, with.tmpl = out.sensitive, nil
		if err := with.fill(string(out.text)); err != nil {
			return nil, err
		}
	}
	return &with, nil
}

func (s *composeState) due(changed []*object) string {
	if touchedPath(changed, s.watch) || notified(changed, s.project) {
		return dueRestart
	}
	return ""
}

func (s *composeState) with(observed state, word string) state {
	o, ok := observed.(*composeState)
	if !ok {
		return observed
	}
	with := *o
	with.Due = word
	return &with
}

// engineOf gives the container engine behind a compose program.
func engineOf(program []string) string {
	dir, base := path.Split(program[0])
	if strings.HasPrefix(base, "podman") {
		return dir + "podman"
	}
	return dir + "docker"
}

func (composeKind) look(p *probe, subjects []subject) {
	askMarks(p)
	for _, sub := range subjects {
		s, ok := sub.open().(*composeState)
		if !ok {
			continue
		}
		p.content(path.Join(s.Dir, composeFile))
		if len(s.program) == 0 {
			continue
		}
		project := nameOf(sub.address)
		p.functions()
		p.part(markName(sub.address), "within 60 "+quote(engineOf(s.program))+" ps -a --filter "+quote("label=com.docker.compose.project="+project)+
			` --format '{{.Label "com.docker.compose.service"}} {{.State}}' 2>&1; echo "= $?"`)
	}
}

func (composeKind) observe(a *answer, subjects []subject) ([]*object, error) {
	var out []*object
	for _, sub := range subjects {
		open, ok := sub.open().(*composeState)
		if !ok {
			continue
		}
		file := path.Join(open.Dir, composeFile)
		content, there := a.content(file)
		if !there {
			if a.path(file) != nil {
				return nil, fmt.Errorf("%s is there, but is no small file", file)
			}
			continue
		}
		st := &composeState{Dir: open.Dir, Content: string(content), Running: []string{}, sum: a.path(file).Sum, there: true}
		st.Secret = sub.hides(content, func(s state) (string, bool) {
			if c, ok := s.(*composeState); ok {
				return c.Content, c.Secret
			}
			return "", false
		})
		if sub.want != nil {
			running, err := parseServices(string(a.part(markName(sub.address))))
			if err != nil {
				return nil, fmt.Errorf("project %s: %w", nameOf(sub.address), err)
			}
			for _, name := range open.Running {
				if running[name] {
					st.Running = append(st.Running, name)
				}
			}
		}
		out = append(out, &object{Kind: kindCompose, Address: sub.address, State: st})
	}
	return out, nil
}

// parseServices reads which services have a container that runs, and none that
// was left behind in another state.
func parseServices(text string) (map[string]bool, error) {
	text, status, ok := cutLast(text, "= ")
	if !ok || strings.TrimSpace(status) != "0" {
		return nil, fmt.Errorf("the container engine does not answer: %s", worded(clip(text)))
	}
	running := map[string]bool{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		if len(f) != 2 {
			return nil, fmt.Errorf("the container engine says %q", clip(strings.TrimSpace(line)))
		}
		up := strings.EqualFold(f[1], "running")
		if was, seen := running[f[0]]; seen {
			up = up && was
		}
		running[f[0]] = up
	}
	return running, nil
}

func (composeKind) write(w *writer, steps []step) {
	w.functions()
	for _, st := range steps {
		s, comes := newState(st).(*composeState)
		old, had := oldState(st).(*composeState)
		project := quote(nameOf(st.Change.Address))
		var cmds []string
		if had && (!comes || s.Dir != old.Dir) {
			program := w.host.compose
			if len(program) == 0 {
				w.try([]step{st}, "{ echo 'the environment names no program for Compose projects any more: connect.compose'; false; }")
				continue
			}
			cmds = append(cmds, "within 600 "+quoteAll(program)+" -p "+project+" -f "+quote(path.Join(old.Dir, composeFile))+" down",
				"( enter "+quote(old.Dir)+" && mine && sum "+old.sum+" ./"+composeFile+" && rm -f -- ./"+composeFile+" )")
		}
		if comes && !had && w.stranger(st) {
			w.try([]step{st}, "{ echo "+quote("there are containers of a project "+nameOf(st.Change.Address)+" that is not of this target, and they would be replaced: choose another name, or take it down first")+"; false; }")
			continue
		}
		if comes {
			cmds = append(cmds, composeComes(s, old, project)...)
			cmds = append(cmds, "unmark "+quote(markName(st.Change.Address)))
		}
		w.try([]step{st}, cmds...)
	}
}

// stranger tells that containers of a project were there before we made it.
func (w *writer) stranger(st step) bool {
	services, err := parseServices(string(w.host.answer.part(markName(st.Change.Address))))
	return err == nil && len(services) > 0 && st.Change.Reason != plan.ByDrift
}

func composeComes(s, old *composeState, project string) []string {
	var cmds []string
	dir := quote(s.Dir)
	if old == nil || old.Dir != s.Dir || old.Content != s.Content {
		check := "free ../" + composeFile
		if old != nil && old.Dir == s.Dir {
			check = "sum " + old.sum + " ../" + composeFile
		}
		cmds = append(cmds, "{ [ -d "+dir+" ] || mkdir -p -m 755 -- "+dir+"; }",
			"( enter "+dir+" && mine && stage && "+check+" && "+inline([]byte(s.Content))+" | put 600 "+composeFile+" )")
	}
	run := "within 1800 " + quoteAll(s.program) + " -p " + project + " -f " + quote(path.Join(s.Dir, composeFile))
	if s.pull {
		cmds = append(cmds, run+" pull")
	}
	up := run + " up -d --remove-orphans"
	if old != nil && old.Due != "" {
		up += " --force-recreate"
	}
	return append(cmds, up)
}

func (composeKind) note(c *plan.Change, _, _ *object) {
	c.Simulated = true
	if c.Action.Writes() && c.Action != plan.Delete {
		c.Note = "the container engine decides which containers are made anew"
	}
}
