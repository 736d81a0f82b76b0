package manifest

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/util/validation"

	"trueup.dev/trueup/internal/plan"
)

// ExcludeTip and TemplateTip say what to do about a file that is something
// else than objects.
const (
	ExcludeTip  = "if the file is none of the target's, list it under spec.exclude"
	TemplateTip = "a template? List it under spec.templates, or set spec.render: helm for a chart"
)

var (
	versionForm = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
	kindForm    = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]*$`)
)

// Check says what the API server would refuse in an object whatever its kind:
// what it is, its name and namespace, labels and annotations. at gives the
// place of a field. It tells whether the object has a reference at all.
func Check(o *Object, at func(field ...any) plan.Source, found *plan.Diagnostics) bool {
	c := &checker{o: o.Object, at: at, found: found}
	before := len(*found)
	if !c.identity() {
		return false
	}
	meta, ok := o.Object["metadata"].(map[string]any)
	if !ok {
		c.errorf("", c.name(), "it has no metadata", "metadata")
		return false
	}
	c.meta = meta
	c.label = c.name()
	c.texts("labels", validLabel)
	c.texts("annotations", validAnnotation)
	c.namespace()
	named := c.named()
	if len(*found) == before {
		c.fields()
	}
	return named
}

type checker struct {
	o, meta map[string]any
	label   string
	at      func(field ...any) plan.Source
	found   *plan.Diagnostics
}

// errorf reports a mistake in an object at a field.
func (c *checker) errorf(mend, label, text string, field ...any) {
	names := make([]string, len(field))
	for i, f := range field {
		names[i] = fmt.Sprint(f)
	}
	c.found.Errorf(c.at(field...), strings.Join(names, "."), mend, "%s: %s", label, text)
}

// name is how messages call the object.
func (c *checker) name() string {
	kind, _ := c.o["kind"].(string)
	meta, _ := c.o["metadata"].(map[string]any)
	name, _ := meta["name"].(string)
	switch {
	case kind == "":
		return "this object"
	case name == "":
		return kind
	}
	return kind + " " + name
}

// identity checks apiVersion and kind.
func (c *checker) identity() bool {
	v, hasVersion := c.o["apiVersion"]
	k, hasKind := c.o["kind"]
	version, isText := v.(string)
	kind, kindText := k.(string)
	switch {
	case !hasVersion && !hasKind:
		c.found.Errorf(c.at(), "", c.strange(), "this is no Kubernetes object: it has no apiVersion and no kind")
	case !hasVersion || v == nil:
		c.errorf("add apiVersion:, as in apps/v1", c.name(), "it has no apiVersion", "apiVersion")
	case !hasKind || k == nil:
		c.errorf(c.strange(), c.name(), "it has no kind", "kind")
	case !isText || !goodVersion(version):
		c.errorf("write GROUP/VERSION, as in apps/v1, or v1", c.name(), Short(fmt.Sprint(v))+" is no API version", "apiVersion")
	case !kindText || !kindForm.MatchString(kind):
		c.errorf("", "this object", Short(fmt.Sprint(k))+" is no kind", "kind")
	case strings.HasPrefix(version, "kustomize.config.k8s.io/"):
		c.errorf("set spec.render: kustomize and the target's path to this directory, or list the file under spec.exclude", c.name(), "it is for Kustomize, not for a cluster", "kind")
	default:
		return true
	}
	return false
}

// strange says what to do about a file that is something else.
func (c *checker) strange() string {
	switch {
	case c.has("resources") || c.has("patches") || c.has("configMapGenerator"):
		return "a kustomization? Set spec.render: kustomize and the target's path to this directory, or list the file under spec.exclude"
	case c.has("version") && c.has("name"):
		return "a Helm chart? Set spec.render: helm and the target's path to this directory, or list the file under spec.exclude"
	}
	return ExcludeTip
}

func (c *checker) has(field string) bool { _, ok := c.o[field]; return ok }

func goodVersion(s string) bool {
	group, version, grouped := strings.Cut(s, "/")
	if !grouped {
		return versionForm.MatchString(s)
	}
	return versionForm.MatchString(version) && len(validation.IsDNS1123Subdomain(group)) == 0
}

// hookNames are the annotations that make an object a hook.
var hookNames = []string{"argocd.argoproj.io/hook", "helm.sh/hook"}

// nameHook gives a hook a name of its own that leaves it to the server: hooks
// run one after the other, so that one name is enough for all runs.
func (c *checker) nameHook() {
	notes, _ := c.meta["annotations"].(map[string]any)
	prefix, _ := c.meta["generateName"].(string)
	_, named := c.meta["name"]
	if prefix == "" || named || !slices.ContainsFunc(hookNames, func(n string) bool { return notes[n] != nil }) {
		return
	}
	c.meta["name"] = prefix + "hook"
	delete(c.meta, "generateName")
}

// named checks metadata.name.
func (c *checker) named() bool {
	c.nameHook()
	raw, ok := c.meta["name"]
	name, isText := raw.(string)
	switch _, generated := c.meta["generateName"]; {
	case !ok && generated:
		c.errorf("write metadata.name: an object is found again by its name", c.label, "its name is left to the server (generateName), so each apply would make another one", "metadata", "generateName")
	case !ok || raw == nil || name == "" && isText:
		c.errorf("add metadata.name", c.label, "it has no name", "metadata")
	case !isText:
		c.errorf("write it in quotes", c.label, "its name is no text", "metadata", "name")
	default:
		why := badName(c.o, name)
		if why != "" {
			c.errorf("", c.label, Short(name)+" is no name for it: "+why, "metadata", "name")
		}
		return why == ""
	}
	return false
}

// badName says why a kind can't have a name. Roles, and kinds of servers that
// bring their own rules, take more than others.
func badName(o map[string]any, name string) string {
	version, _ := o["apiVersion"].(string)
	kind, _ := o["kind"].(string)
	group, _, grouped := strings.Cut(version, "/")
	if !grouped {
		group = ""
	}
	var why []string
	switch {
	case group == "rbac.authorization.k8s.io" || strings.HasSuffix(group, ".openshift.io") || kind == "IPAddress":
		why = content.IsPathSegmentName(name)
	case group == "" && (kind == "Namespace" || kind == "Service"):
		why = validation.IsDNS1123Label(name)
	default:
		why = validation.IsDNS1123Subdomain(name)
	}
	if len(why) == 0 {
		return ""
	}
	return short(why[0])
}

// short leaves out the examples and the regular expression of the library's
// messages.
func short(s string) string {
	if i := strings.Index(s, " (e.g."); i >= 0 {
		return s[:i]
	}
	return s
}

func (c *checker) namespace() {
	raw, ok := c.meta["namespace"]
	if !ok || raw == nil {
		delete(c.meta, "namespace")
		return
	}
	ns, isText := raw.(string)
	switch {
	case !isText:
		c.errorf("write it in quotes", c.label, "its namespace is no text", "metadata", "namespace")
		delete(c.meta, "namespace")
	case ns == "":
		delete(c.meta, "namespace")
	default:
		if why := validation.IsDNS1123Label(ns); len(why) > 0 {
			c.errorf("", c.label, Short(ns)+" is no namespace: "+short(why[0]), "metadata", "namespace")
		}
	}
}

// texts checks labels or annotations: texts by name.
func (c *checker) texts(field string, valid func(key, value string) string) {
	raw, ok := c.meta[field]
	if !ok || raw == nil {
		return
	}
	m, ok := raw.(map[string]any)
	if !ok {
		c.errorf("write NAME: VALUE", c.label, field+" are no mapping", "metadata", field)
		return
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		switch v := m[k].(type) {
		case string:
			if why := valid(k, v); why != "" {
				c.errorf("", c.label, why, "metadata", field, k)
			}
		case nil:
		default:
			c.errorf("write it in quotes", c.label, "the value of "+Short(k)+" is no text", "metadata", field, k)
		}
	}
}

func validLabel(key, value string) string {
	if why := validation.IsQualifiedName(key); len(why) > 0 {
		return Short(key) + " is no name of a label: " + short(why[0])
	}
	if why := validation.IsValidLabelValue(value); len(why) > 0 {
		return "the value of the label " + Short(key) + " is not allowed: " + short(why[0])
	}
	return ""
}

func validAnnotation(key, _ string) string {
	if why := validation.IsQualifiedName(strings.ToLower(key)); len(why) > 0 {
		return Short(key) + " is no name of an annotation: " + short(why[0])
	}
	return ""
}
