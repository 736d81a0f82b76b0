package argocd

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"trueup.dev/trueup/internal/handover"
)

// applicationSets expands sets into Applications, and tells which live
// Applications are covered by that. What can't be expanded is carried over as
// the Applications that the set has made by now.
func (c *converter) applicationSets() map[string]bool {
	covered := map[string]bool{}
	for _, o := range c.set.Of(group, "ApplicationSet") {
		c.annotations(o)
		made := c.generated(o)
		e := &expansion{converter: c, set: o}
		apps := e.expand()
		var names []*regexp.Regexp
		for _, a := range apps {
			names = append(names, nameOf(a))
			c.made = append(c.made, a)
			c.application(a)
		}
		var left []string
		for _, a := range made {
			if slices.ContainsFunc(names, func(r *regexp.Regexp) bool { return r.MatchString(a.GetName()) }) {
				covered[a.Key()] = true
			} else {
				left = append(left, a.GetName())
			}
		}
		switch {
		case len(left) > 0:
			c.out.Differs(o, "spec.generators", "it was not expanded, or not wholly; each Application that it has made is carried over by itself: "+shorten(left), "write a target by hand for what it would make in the future")
		case len(apps) == 0:
			c.out.Lost(o, "spec.generators", "no Application came of it", "import from the live cluster, or give --checkout for the repositories that it lists")
		}
	}
	return covered
}

func shorten(list []string) string {
	if len(list) > 5 {
		return fmt.Sprintf("%s and %d more", strings.Join(list[:5], ", "), len(list)-5)
	}
	return strings.Join(list, ", ")
}

// nameOf matches the names that an Application may have.
func nameOf(a *handover.Object) *regexp.Regexp {
	text := regexp.QuoteMeta(a.GetName())
	text = strings.NewReplacer(regexp.QuoteMeta("{dir}"), ".+", regexp.QuoteMeta("{each}"), ".+").Replace(text)
	return regexp.MustCompile("^" + text + "$")
}

// generated lists the live Applications of a set.
func (c *converter) generated(o *handover.Object) []*handover.Object {
	var out []*handover.Object
	for _, a := range c.set.Of(group, "Application") {
		for _, r := range a.GetOwnerReferences() {
			if r.Kind == "ApplicationSet" && r.Name == o.GetName() && a.GetNamespace() == o.GetNamespace() {
				out = append(out, a)
			}
		}
	}
	return out
}

// expansion expands one set.
type expansion struct {
	*converter
	set *handover.Object
	gt  bool // Go templates
}

// params are the values of one Application to be.
type params struct {
	values   map[string]any
	template map[string]any // of the generator, laid over the set's
	each     string         // a glob of directories, where the values stand for all of them
}

const maxApplications = 5000

func (e *expansion) expand() []*handover.Object {
	spec := e.set.At("spec")
	e.gt = spec.At("goTemplate").Yes()
	spec.Ignore("goTemplateOptions", "preservedFields", "ignoreApplicationDifferences", "applyNestedSelectors")
	if s := spec.At("strategy"); s.Has() {
		s.Ignore()
		e.out.Lost(e.set, s.Path(), "Applications are not rolled out one after the other", "say with dependsOn which targets come first")
	}
	if p := spec.At("syncPolicy"); p.Has() {
		p.Ignore()
		e.out.Differs(e.set, p.Path(), "a target that is not asked for any more keeps its objects", "nothing")
	}
	template, _ := spec.At("template").Any().(map[string]any)
	patch := spec.At("templatePatch").Text()
	var out []*handover.Object
	for _, g := range spec.At("generators").Items() {
		list, ok := e.generator(g, 0)
		if !ok {
			continue
		}
		for _, p := range list {
			if len(out) >= maxApplications {
				e.out.Lost(e.set, g.Path(), fmt.Sprintf("it makes more than %d Applications", maxApplications), "divide the set")
				return out
			}
			apps, err := e.applications(p, template, patch)
			if err != nil {
				e.out.Lost(e.set, g.Path(), err.Error(), "write the target by hand, or import from the live cluster")
			}
			out = append(out, apps...)
		}
	}
	return out
}

// applications makes what comes of one set of values: one Application, or one
// that stands for a directory each, or several where that can't be said in one.
func (e *expansion) applications(p params, template map[string]any, patch string) ([]*handover.Object, error) {
	if p.each == "" {
		a, err := e.application(p, template, patch)
		if err != nil {
			return nil, err
		}
		return []*handover.Object{a}, nil
	}
	if a := e.forEach(p, template, patch); a != nil {
		return []*handover.Object{a}, nil
	}
	return nil, fmt.Errorf("what it makes of the directories %s can't be said in one target, and they are not at hand (--checkout)", p.each)
}

// application fills the template in.
func (e *expansion) application(p params, template map[string]any, patch string) (*handover.Object, error) {
	base, err := e.fill(handover.Merge(template, p.template), p.values)
	if err != nil {
		return nil, err
	}
	m, ok := base.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("the template is no mapping")
	}
	if patch != "" {
		if m, err = e.patched(m, p.values, patch); err != nil {
			return nil, err
		}
	}
	m["apiVersion"], m["kind"] = group+"/v1alpha1", "Application"
	u := &unstructured.Unstructured{Object: m}
	if u.GetName() == "" {
		return nil, fmt.Errorf("the template gives an Application without a name")
	}
	if u.GetNamespace() == "" {
		u.SetNamespace(e.set.GetNamespace())
	}
	return handover.NewObject(u, e.set.Source), nil
}

// patched lays the set's own patch over an Application.
func (e *expansion) patched(m map[string]any, values map[string]any, patch string) (map[string]any, error) {
	text, err := e.text(patch, values)
	if err != nil {
		return nil, fmt.Errorf("templatePatch: %w", err)
	}
	over := map[string]any{}
	if err := yaml.Unmarshal([]byte(text), &over); err != nil {
		return nil, fmt.Errorf("templatePatch: what it gives can't be read")
	}
	return handover.Merge(m, over), nil
}

// samples are directories to try with what is meant for each of them.
var samples = []string{"sample-one", "other2"}

// forEach makes an Application that stands for all directories, with {each}
// and {dir} in it; nil if the template does more with them than to put them
// in. That is found out by trying.
func (e *expansion) forEach(p params, template map[string]any, patch string) *handover.Object {
	base := strings.TrimSuffix(p.each, p.each[strings.LastIndex(p.each, "/")+1:])
	a, err := e.application(p, template, patch)
	if err != nil || ownFiles(a) {
		return nil
	}
	text, err := json.Marshal(a.Object)
	if err != nil {
		return nil
	}
	for _, dir := range samples {
		one := p
		one.values = maps.Clone(p.values)
		e.pathValues(one.values, base+dir, e.prefix(p))
		b, err := e.application(one, template, patch)
		if err != nil {
			return nil
		}
		want, err := json.Marshal(b.Object)
		if err != nil || strings.NewReplacer("{each}", base+dir, "{dir}", dir).Replace(string(text)) != string(want) {
			return nil
		}
	}
	if !strings.Contains(a.GetName(), "{dir}") && !strings.Contains(a.GetName(), "{each}") {
		return nil
	}
	a.Object["each"] = p.each
	return handover.NewObject(a.Unstructured, a.Source)
}

// ownFiles tells whether an Application needs files of its own in the
// repository, which one target for many directories can't have.
func ownFiles(a *handover.Object) bool {
	source, _, _ := unstructured.NestedMap(a.Object, "spec", "source")
	if source == nil || source["chart"] != nil || source["kustomize"] != nil {
		return true
	}
	helm, _ := source["helm"].(map[string]any)
	for _, f := range []string{"values", "valuesObject", "parameters", "fileParameters"} {
		if helm[f] != nil {
			return true
		}
	}
	return false
}
