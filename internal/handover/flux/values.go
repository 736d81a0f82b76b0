package flux

import (
	"cmp"
	"path"
	"strings"

	"sigs.k8s.io/yaml"

	"trueup.dev/trueup/internal/handover"
)

// values writes the values of a release into files, in the order in which they
// count: the chart's own files, what comes from ConfigMaps and Secrets, and
// those of the HelmRelease itself.
func (c *converter) values(o *handover.Object, t *handover.Target, r *handover.Repository, ch *chart) {
	h := t.Spec.Helm
	for _, f := range ch.valuesFiles {
		if ch.inPackage {
			c.out.Lost(o, "spec.chart.spec.valuesFiles", "values files are read from Git, not from the chart's package", "copy "+f+" out of the chart into "+t.Path+" and list it first under spec.helm.valuesFiles")
			t.Hold("values files of its chart are to be copied")
			continue
		}
		if p, ok := handover.InTree(f); ok { // from the root of the repository
			h.ValuesFiles = append(h.ValuesFiles, handover.Relative(t.Path, p))
			t.Input(p)
		}
	}
	for _, from := range o.At("spec", "valuesFrom").Items() {
		c.valuesFrom(o, t, r, from)
	}
	inline, _ := o.At("spec", "values").Any().(map[string]any)
	clean, secret := handover.WithoutSecrets(inline)
	if len(clean) > 0 || len(inline) == 0 {
		r.Write(path.Join(t.Path, "values.yaml"), handover.YAML(notNil(clean)))
		h.ValuesFiles = append(h.ValuesFiles, "values.yaml")
	}
	if len(secret) > 0 {
		c.secretValues(o, t, "secret-values.yaml", "spec.values", "what looks like a secret is not copied: "+strings.Join(secret, ", "))
	}
}

func notNil(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return m
}

// secretValues leaves a place for a file with secrets. Until it is there,
// rendering fails and says so.
func (c *converter) secretValues(o *handover.Object, t *handover.Target, file, field, why string) {
	t.Spec.Helm.ValuesFiles = append(t.Spec.Helm.ValuesFiles, file)
	c.out.Fill(o.String(), field, why, "write the values into "+path.Join(t.Path, file)+", encrypted with SOPS, before it is committed")
}

func (c *converter) valuesFrom(o *handover.Object, t *handover.Target, r *handover.Repository, from *handover.Fields) {
	kind, name := from.At("kind").Text(), from.At("name").Text()
	k, at := cmp.Or(from.At("valuesKey").Text(), "values.yaml"), from.At("targetPath").Text()
	from.Ignore("optional", "literal")
	file := "from-" + handover.Clean(name) + ".yaml"
	if kind == "ConfigMap" {
		if cm := c.set.Find("", kind, o.GetNamespace(), name); cm != nil {
			c.fromConfigMap(o, t, r, from, cm, k, at, file)
			return
		}
	}
	what := "the key " + k + " of " + handover.Name(kind, o.GetNamespace(), name)
	if at != "" {
		what += " as the value " + at
	}
	if kind == "Secret" {
		c.secretValues(o, t, file, from.Path(), "secrets are not copied: "+what)
		return
	}
	t.Spec.Helm.ValuesFiles = append(t.Spec.Helm.ValuesFiles, file)
	c.out.Fill(o.String(), from.Path(), "values come from Git, not from the cluster", "write "+what+" into "+path.Join(t.Path, file))
}

func (c *converter) fromConfigMap(o *handover.Object, t *handover.Target, r *handover.Repository, from *handover.Fields, cm *handover.Object, k, at, file string) {
	data, _ := cm.Object["data"].(map[string]any)
	text, _ := data[k].(string)
	values := map[string]any{}
	if at != "" {
		values = nest(strings.Split(at, "."), text)
	} else if err := yaml.Unmarshal([]byte(text), &values); err != nil {
		c.out.Lost(o, from.Path(), "the key "+k+" of "+cm.String()+" is no mapping of values", "write it into a values file by hand")
		return
	}
	clean, secret := handover.WithoutSecrets(values)
	r.Write(path.Join(t.Path, file), handover.YAML(notNil(clean)))
	t.Spec.Helm.ValuesFiles = append(t.Spec.Helm.ValuesFiles, file)
	c.out.Differs(o, from.Path(), "values come from Git, not from the cluster", "the values of "+cm.String()+" are written as they are now; change them in Git from here on")
	if len(secret) > 0 {
		c.secretValues(o, t, "secret-"+file, from.Path(), "what looks like a secret is not copied: "+strings.Join(secret, ", "))
	}
}

// nest puts a value at a path. What is a number or a switch becomes one, as
// Helm's --set has it.
func nest(parts []string, text string) map[string]any {
	var value any = text
	var typed any
	if err := yaml.Unmarshal([]byte(text), &typed); err == nil {
		switch typed.(type) {
		case bool, float64, int64:
			value = typed
		}
	}
	out := map[string]any{parts[len(parts)-1]: value}
	for i := len(parts) - 2; i >= 0; i-- {
		out = map[string]any{parts[i]: out}
	}
	return out
}
