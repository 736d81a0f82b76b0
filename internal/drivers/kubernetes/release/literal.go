package release

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	ri "helm.sh/helm/v4/pkg/release"
	helm "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/storage"
	"helm.sh/helm/v4/pkg/storage/driver"

	"trueup.dev/trueup/internal/drivers/kubernetes/render"
)

// Templates of a repository may loop for ever or grow without end, so they are
// rendered elsewhere, in bounds. Helm gets a chart whose templates are what
// came of it, word for word, and so installs exactly what was planned. What it
// keeps is the chart itself.

// literal makes a chart that renders to the files given.
func literal(meta *chart.Metadata, r *render.Rendering) *chart.Chart {
	m := *meta
	// These were sorted out when it was rendered.
	m.Dependencies, m.KubeVersion = nil, ""
	c := &chart.Chart{Metadata: &m}
	for _, files := range []map[string]string{r.Files, r.Notes} {
		for _, name := range sortedKeys(files) {
			rel, _ := strings.CutPrefix(name, m.Name+"/")
			text := "{{ " + strconv.Quote(files[name]) + " }}"
			c.Templates = append(c.Templates, &common.File{Name: rel, Data: []byte(text)})
		}
	}
	return c
}

// keeping is Helm's storage of records; the chart in them is the one given.
type keeping struct {
	driver.Driver
	chart *chart.Chart
}

// Create writes a new record.
func (k *keeping) Create(key string, x ri.Releaser) error {
	r, err := k.whole(x)
	if err != nil {
		return err
	}
	return k.Driver.Create(key, r)
}

// Update overwrites a record.
func (k *keeping) Update(key string, x ri.Releaser) error {
	r, err := k.whole(x)
	if err != nil {
		return err
	}
	return k.Driver.Update(key, r)
}

// whole puts the chart into a record where the literal one stands for it.
func (k *keeping) whole(x ri.Releaser) (*helm.Release, error) {
	r, err := v1(x)
	if err != nil || !isLiteral(r.Chart) {
		return r, err
	}
	out := *r
	out.Chart = k.chart
	return &out, nil
}

const literalMark = "trueup.dev/literal"

func isLiteral(c *chart.Chart) bool {
	return c != nil && c.Metadata != nil && c.Metadata.Annotations[literalMark] != ""
}

// pack gives an action the chart: to render literally, and to keep.
func (a *act) pack(w *Wanted) (*chart.Chart, error) {
	var c chart.Chart
	if err := json.Unmarshal(w.Chart, &c); err != nil || c.Metadata == nil {
		return nil, fmt.Errorf("the chart can't be read back: %w", err)
	}
	lit := literal(c.Metadata, &w.rendering)
	notes := map[string]string{literalMark: "1"}
	for k, v := range c.Metadata.Annotations {
		notes[k] = v
	}
	lit.Metadata.Annotations = notes
	kept := storage.Init(&keeping{Driver: a.config.Releases.Driver, chart: &c})
	kept.SetLogger(a.config.Logger().Handler())
	a.config.Releases = kept
	return lit, nil
}
