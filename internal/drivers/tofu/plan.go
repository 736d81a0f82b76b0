package tofu

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// Plan runs init where it is needed, plans, and reads the saved plan.
func (s *session) Plan(ctx context.Context, in driver.Input) (*plan.Plan, error) {
	w, err := s.open(ctx, in)
	if err != nil {
		return nil, err
	}
	defer w.close()
	if err := w.rescued(); err != nil {
		return nil, err
	}
	p, err := w.plan(ctx)
	if err != nil {
		return nil, w.scrub.err(err)
	}
	return p, nil
}

func (w *work) plan(ctx context.Context) (*plan.Plan, error) {
	if err := w.initialise(ctx, false); err != nil {
		return nil, err
	}
	shown, err := w.makePlan(ctx, nil)
	if again := (&exitError{}); errors.As(err, &again) && wantsInit(again.stderr) {
		if err := w.initialise(ctx, true); err != nil {
			return nil, err
		}
		shown, err = w.makePlan(ctx, nil)
	}
	if err != nil {
		return nil, w.explain("plan", err)
	}
	p, err := w.translate(shown)
	if err != nil {
		return nil, err
	}
	if w.in.Mode == plan.AddOnly {
		if p, shown, err = w.addOnly(ctx, p, shown); err != nil {
			return nil, err
		}
	}
	if err := w.judge(ctx, p, shown); err != nil {
		return nil, err
	}
	if shown.needed(p) {
		p.Artefact = shown.file
	}
	return p, nil
}

// planFile is the saved plan, in the directory that is cleared.
const planFile = "secrets/plan.bin"

// planned is a saved plan with what it says.
type planned struct {
	file []byte
	json []byte
	doc  *tfjson.Plan
	meta stateMeta
	// changes tells that the program sees something to apply.
	changes bool
}

// needed tells whether the saved plan has to be applied: adopting or giving up
// what is in the state already writes nothing.
func (x planned) needed(p *plan.Plan) bool {
	if !x.changes {
		return false
	}
	for i := range p.Changes {
		c := &p.Changes[i]
		if c.Action.Writes() || c.Note != "" {
			return true
		}
	}
	return false
}

// stateMeta names a version of a state.
type stateMeta struct {
	Lineage string `json:"lineage"`
	Serial  int64  `json:"serial"`
}

func (w *work) planArgs(targets []string) []string {
	args := []string{"plan", "-input=false", "-no-color", "-json", "-detailed-exitcode", "-out=" + w.path(planFile),
		"-lock-timeout=" + w.s.c.lockTimeout().String()}
	if w.s.c.Parallelism > 0 {
		args = append(args, "-parallelism="+itoa(w.s.c.Parallelism))
	}
	switch {
	case w.in.Mode == plan.Destroy:
		args = append(args, "-destroy")
	case w.spec.RefreshOnly:
		args = append(args, "-refresh-only")
	case w.spec.NoRefresh:
		args = append(args, "-refresh=false")
	}
	args = append(args, w.varArgs()...)
	for _, t := range targets {
		args = append(args, "-target="+t)
	}
	return args
}

// makePlan plans and reads the plan back. The file of a plan that failed is
// never looked at: the programs may leave one.
func (w *work) makePlan(ctx context.Context, targets []string) (planned, error) {
	var x planned
	if err := os.RemoveAll(w.path(planFile)); err != nil {
		return x, err
	}
	var d diagnostics
	r, err := w.start(ctx, invocation{args: w.planArgs(targets), ok: []int{2}, line: d.line})
	if err != nil {
		return x, d.with(err, w)
	}
	x.changes = r.status == 2
	if x.file, err = os.ReadFile(w.path(planFile)); err != nil {
		return x, fmt.Errorf("the saved plan: %w", err)
	}
	show, err := w.start(ctx, invocation{args: []string{"show", "-json", "-no-color", w.path(planFile)}})
	if err != nil {
		return x, err
	}
	x.json = show.out
	x.doc = &tfjson.Plan{}
	x.doc.UseJSONNumber(true)
	if err := json.Unmarshal(show.out, x.doc); err != nil {
		return x, fmt.Errorf("the plan as JSON: %w", err)
	}
	if failed(show.out) {
		return x, errors.New("the program says that its plan is not complete; it is not used")
	}
	x.meta, err = planMeta(x.file)
	if err != nil { // an encrypted plan file: the state is asked itself
		x.meta, err = w.pullMeta(ctx)
	}
	return x, err
}

// failed reads the mark of a plan that ended with errors.
func failed(doc []byte) bool {
	var x struct {
		Errored bool `json:"errored"`
	}
	return json.Unmarshal(doc, &x) != nil || x.Errored
}

// planMeta reads which state a saved plan was made for.
func planMeta(file []byte) (stateMeta, error) {
	var m stateMeta
	z, err := zip.NewReader(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return m, err
	}
	f, err := z.Open("tfstate")
	if err != nil {
		return m, err
	}
	defer func() { _ = f.Close() }()
	body, err := io.ReadAll(io.LimitReader(f, maxOutput))
	if err != nil {
		return m, err
	}
	return m, json.Unmarshal(body, &m)
}

// pullMeta asks the backend for the state's lineage and serial. No state at
// all has neither.
func (w *work) pullMeta(ctx context.Context) (stateMeta, error) {
	var m stateMeta
	r, err := w.start(ctx, invocation{args: []string{"state", "pull"}})
	if err != nil {
		return m, w.explain("state pull", err)
	}
	if len(bytes.TrimSpace(r.out)) == 0 {
		return m, nil
	}
	return m, json.Unmarshal(r.out, &m)
}

// addOnly plans once more with nothing but what is created or updated, where
// the plan would delete or replace as well.
func (w *work) addOnly(ctx context.Context, p *plan.Plan, x planned) (*plan.Plan, planned, error) {
	var targets []string
	removes := false
	for i := range p.Changes {
		c := &p.Changes[i]
		switch {
		case c.Kind == kindOutput:
		case c.Action == plan.Delete || c.Action == plan.Replace || c.Action == plan.Forget || c.Action == plan.Rename:
			removes = true
		default:
			targets = append(targets, string(c.Address))
		}
	}
	if !removes {
		return p, x, nil
	}
	if len(targets) == 0 {
		p.Changes = nil
		return p, planned{doc: x.doc, json: x.json, meta: x.meta}, nil
	}
	x, err := w.makePlan(ctx, targets)
	if err != nil {
		return nil, x, w.explain("plan", err)
	}
	if p, err = w.translate(x); err != nil {
		return nil, x, err
	}
	for i := range p.Changes {
		if c := &p.Changes[i]; c.Kind != kindOutput && (c.Action == plan.Delete || c.Action == plan.Replace) {
			return nil, x, driver.Permanent(fmt.Errorf("%s would be %sd even when only additions are asked for: they depend on it", c.Address, c.Action))
		}
	}
	return p, x, nil
}

// wantsInit tells that the program asks for init.
func wantsInit(stderr string) bool {
	for _, s := range []string{"init\"", "Required plugins are not installed", "Module not installed", "Inconsistent dependency lock file", "initialization required"} {
		if strings.Contains(stderr, s) {
			return true
		}
	}
	return false
}

// diagnostic is one finding of the program.
type diagnostic struct {
	Severity string `json:"severity"`
	Summary  string `json:"summary"`
	Detail   string `json:"detail"`
	Address  string `json:"address"`
	Range    *struct {
		Filename string `json:"filename"`
		Start    struct {
			Line   int `json:"line"`
			Column int `json:"column"`
		} `json:"start"`
	} `json:"range"`
}

// diagnostics collects what the program finds, from its JSON lines.
type diagnostics struct {
	found []diagnostic
	other string // output that is no JSON
}

func (d *diagnostics) line(text []byte) error {
	var l struct {
		Type       string      `json:"type"`
		Diagnostic *diagnostic `json:"diagnostic"`
	}
	if json.Unmarshal(text, &l) != nil {
		if len(d.other) < tailSize {
			d.other += string(text) + "\n"
		}
		return nil
	}
	if l.Diagnostic != nil && len(d.found) < 1000 {
		d.found = append(d.found, *l.Diagnostic)
	}
	return nil
}

// with puts what the program found into the error of its run.
func (d *diagnostics) with(err error, w *work) error {
	var exit *exitError
	if !errors.As(err, &exit) {
		return err
	}
	var lines []string
	for _, x := range d.found {
		if x.Severity == "error" {
			lines = append(lines, w.say(x))
		}
	}
	if d.other != "" {
		lines = append(lines, strings.TrimSpace(d.other))
	}
	if len(lines) == 0 {
		return w.scrub.err(err)
	}
	exit.stderr = w.scrub.text(strings.Join(lines, "\n"))
	return err
}

// say writes a finding on one line, with the place in the repository.
func (w *work) say(x diagnostic) string {
	var b strings.Builder
	if x.Range != nil && x.Range.Filename != "" {
		at := plan.Source{File: w.repositoryPath(x.Range.Filename), Line: x.Range.Start.Line, Column: x.Range.Start.Column}
		b.WriteString(at.String() + ": ")
	}
	if x.Address != "" {
		b.WriteString(x.Address + ": ")
	}
	b.WriteString(x.Summary)
	if x.Detail != "" {
		b.WriteString(": " + strings.Join(strings.Fields(x.Detail), " "))
	}
	return w.scrub.text(b.String())
}

var lockHolder = regexp.MustCompile(`(?s)Lock Info:(.*)`)

// explain makes of a failed run an error that says what to do next.
func (w *work) explain(what string, err error) error {
	var exit *exitError
	if !errors.As(err, &exit) {
		return err
	}
	text := strings.TrimSpace(w.scrub.text(exit.stderr))
	err = fmt.Errorf("%s %s: %s", strings.ToLower(w.s.version.name), what, text)
	switch {
	case strings.Contains(text, "Error acquiring the state lock"):
		holder := ""
		if m := lockHolder.FindStringSubmatch(text); m != nil {
			holder = strings.Join(strings.Fields(m[1]), " ")
		}
		return fmt.Errorf("the state is locked by somebody else (%s); it was waited for %s. If nobody works on it any more: "+
			"trueup state force-unlock %s ID: %w", holder, w.s.c.lockTimeout(), w.in.Target, driver.ErrUnreachable)
	case strings.Contains(text, "Saved plan is stale"), strings.Contains(text, "does not match the given state"):
		return fmt.Errorf("%w: %w", driver.ErrStale, err)
	case strings.Contains(text, "connection refused"), strings.Contains(text, "no such host"),
		strings.Contains(text, "i/o timeout"), strings.Contains(text, "Failed to query available provider packages"):
		return fmt.Errorf("%w: %w", driver.ErrUnreachable, err)
	}
	return err
}
