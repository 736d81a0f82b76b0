package render

import (
	"path"
	"regexp"
	"strconv"
	"strings"

	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	chartutil "helm.sh/helm/v4/pkg/chart/v2/util"

	"trueup.dev/trueup/internal/plan"
)

var (
	placeForm = regexp.MustCompile(`([^\s():"<>]+):(\d+)(?::\d+)?`)
	helmFrame = regexp.MustCompile(`(?s)^(?:parse|execution) error (?:at|in) \([^)]*\): `)
	rawFrames = regexp.MustCompile(`(?s)^.*error calling \w+: `)
	yamlLine  = regexp.MustCompile(`line (\d+)`)
)

// mistake makes a diagnostic of an error of Helm's engine, and gives the
// template that was being rendered: the first one that the error names. The
// mistake is where the last one points.
func (h *release) mistake(out *output, err error) (string, plan.Diagnostic) {
	d := plan.Diagnostic{Severity: plan.Error, Source: plan.Source{File: h.file}, Message: err.Error()}
	top := ""
	if out == nil {
		return top, d
	}
	for _, m := range placeForm.FindAllStringSubmatch(err.Error(), -1) {
		source, known := out.sources[m[1]]
		if !known {
			continue
		}
		if top == "" {
			top = m[1]
		}
		d.Source = h.at(h.files.from(source), 0)
		if d.Line, err = strconv.Atoi(m[2]); err != nil {
			d.Line = 0
		}
	}
	d.Message = innermost(d.Message)
	if strings.HasPrefix(path.Base(top), "_") { // nothing can be rendered without it
		top = ""
	}
	return top, d
}

// innermost cuts the frames off an error of the engine.
func innermost(text string) string {
	if at := rawFrames.FindStringIndex(text); at != nil && strings.HasPrefix(text, "template: ") {
		return strings.TrimSpace(text[at[1]:])
	}
	if frame := helmFrame.FindString(text); frame != "" {
		return strings.TrimSpace(text[len(frame):])
	}
	kept := ""
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "executing ") && placeForm.FindString(line) != line {
			kept = line
		}
	}
	if kept == "" {
		return text
	}
	return kept
}

// loadMistake makes a mistake of an error in one of the files that every chart
// has.
func (h *release) loadMistake(err error) error {
	text := err.Error()
	for _, f := range h.files.list {
		base := path.Base(f.Name)
		if !strings.Contains(text, "cannot load "+base) || path.Dir(f.Name) != "." && !strings.Contains(text, path.Base(path.Dir(f.Name))) {
			continue
		}
		line := 0
		if m := yamlLine.FindStringSubmatch(text); m != nil {
			line, _ = strconv.Atoi(m[1])
		}
		return bad(h.files.from(f.Data), line, "", "%s", text)
	}
	return bad(h.file, 0, "", "the chart can't be read: %s", text)
}

// dependencies checks that every chart that this one needs lies in it. One
// that is named by a path is read from there; dir is where this one lies, "" in
// an archive.
func (h *release) dependencies(c *chart.Chart, dir string, depth int) error {
	for _, want := range c.Metadata.Dependencies {
		if has(c, want) {
			continue
		}
		rel, local := strings.CutPrefix(want.Repository, "file://")
		if !local || dir == "" || depth > maxNested {
			return bad(h.file, 0, "run helm dependency build and commit charts/", "the chart %s that it depends on is missing in charts/", want.Name)
		}
		if err := h.local(c, path.Join(dir, rel), depth+1); err != nil {
			return err
		}
		if !has(c, want) {
			return bad(h.file, 0, "", "the chart in %s is not %s %s", rel, want.Name, want.Version)
		}
	}
	return nil
}

// local adds a chart that lies in another directory of the repository.
func (h *release) local(c *chart.Chart, dir string, depth int) error {
	files := &chartFiles{origin: h.files.origin}
	if err := h.chartDir(files, dir, "", depth); err != nil {
		return err
	}
	sub, err := loader.LoadFiles(files.list)
	if err != nil {
		return bad(path.Join(dir, "Chart.yaml"), 0, "", "the chart can't be read: %v", err)
	}
	c.AddDependency(sub)
	return h.dependencies(sub, dir, depth)
}

func has(c *chart.Chart, want *chart.Dependency) bool {
	for _, d := range c.Dependencies() {
		if d.Name() == want.Name && chartutil.IsCompatibleRange(want.Version, d.Metadata.Version) {
			return true
		}
	}
	return false
}
