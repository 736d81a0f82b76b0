package argocd

import (
	"fmt"
	"path"
	"strings"

	"trueup.dev/trueup/internal/handover"
)

// source makes a target of one source of manifests.
func (c *converter) source(a *app, s *handover.Fields, name string) {
	if s.At("chart").Has() {
		c.chart(a, s, name)
		return
	}
	if p := s.At("plugin"); p.Has() {
		c.out.Lost(a.Object, p.Path(), "trueup runs no plug-ins that make manifests", "keep the rendered manifests in Git, or write them with Kustomize, Helm or Jsonnet; no target is made of it")
		s.Ignore()
		return
	}
	url := s.At("repoURL").Text()
	dir, ok := handover.InTree(s.At("path").Text())
	if url == "" || !ok || strings.HasPrefix(url, "oci://") {
		why := "it names no repository, or a path that leaves it"
		if strings.HasPrefix(url, "oci://") {
			why = "manifests from an OCI artefact need its digest"
		}
		c.out.Lost(a.Object, s.Path(), why, "write a target by hand; spec.source takes an artefact")
		s.Ignore()
		return
	}
	r := c.repository(a.Object, url, s.At("targetRevision").Text(), s.At("targetRevision").Path())
	t, env := c.target(a, r, name)
	t.Path = dir
	c.alsoReads(a, t, dir)
	switch {
	case s.At("helm").Has():
		c.helm(a, s, t, r, dir)
	case s.At("kustomize").Has():
		c.kustomize(a, s, t, r)
	case s.At("directory").Has():
		c.directory(a, s, t)
	}
	c.withoutDefinitions(a, t, r)
	c.place(t, r)
	env.Grant(r.Name, c.granted(a), grantPath(t))
}

// grantPath is what a grant has to cover for a target.
func grantPath(t *handover.Target) string { return strings.ReplaceAll(t.Path, "{each}", t.Each) }

// place sees to it that no two targets have the same path in an environment.
func (c *converter) place(t *handover.Target, r *handover.Repository) {
	k := r.Name + " " + t.Environment + " " + t.Path
	if !c.paths[k] || t.Each != "" || strings.Contains(t.Path, "{") {
		c.paths[k] = true
		return
	}
	dir := path.Join(c.Dir, t.Name)
	switch {
	case t.Spec.Helm != nil:
		r.Write(path.Join(dir, "values.yaml"), handover.YAML(map[string]any{}))
		c.moveHelm(t, dir)
	default:
		over := handover.Overlay{Base: t.Path}
		r.Write(path.Join(dir, "kustomization.yaml"), over.File(dir))
		t.Input(glob(t.Path))
		t.Spec.Render, t.Spec.Include, t.Spec.Exclude = "kustomize", nil, nil
	}
	t.Path = dir
	c.paths[r.Name+" "+t.Environment+" "+dir] = true
}

// moveHelm moves the path of a target of a chart in Git.
func (c *converter) moveHelm(t *handover.Target, dir string) {
	chart := t.Path
	for i, f := range t.Spec.Helm.ValuesFiles {
		t.Spec.Helm.ValuesFiles[i] = handover.Relative(dir, path.Join(t.Path, f))
	}
	t.Spec.Helm.Chart = handover.Relative(dir, chart)
	t.Input(glob(chart))
}

// glob covers a directory.
func glob(dir string) string {
	if dir == "." {
		return "**"
	}
	return dir + "/**"
}

// alsoReads carries over the paths that an annotation names.
func (c *converter) alsoReads(a *app, t *handover.Target, dir string) {
	const key = "argocd.argoproj.io/manifest-generate-paths"
	f := a.At("metadata", "annotations", key)
	for p := range strings.SplitSeq(f.Text(), ";") {
		switch p = strings.TrimSpace(p); {
		case p == "" || p == ".":
			continue
		case !strings.HasPrefix(p, "/"):
			p = path.Join(dir, p)
		}
		in, ok := handover.InTree(p)
		if !ok || in == dir {
			continue
		}
		if strings.ContainsAny(in, "*?[") || path.Ext(in) != "" {
			t.Input(in)
		} else {
			t.Input(glob(in))
		}
	}
}

// directory carries over how plain files are chosen.
func (c *converter) directory(a *app, s *handover.Fields, t *handover.Target) {
	d := s.At("directory")
	if j := d.At("jsonnet"); j.Has() && len(j.Keys()) > 0 {
		c.jsonnet(a, j, t)
	}
	recurse, include, exclude := d.At("recurse").Yes(), d.At("include").Text(), d.At("exclude").Text()
	if include != "" {
		t.Spec.Include = patterns(include, recurse)
	} else if !recurse && t.Spec.Jsonnet == nil {
		t.Spec.Include = []string{"*.yaml", "*.yml", "*.json"}
	}
	if exclude != "" {
		t.Spec.Exclude = patterns(exclude, recurse)
	}
	if t.Spec.Include != nil || t.Spec.Exclude != nil {
		t.Spec.Render = "plain"
	}
}

// patterns writes a pattern of Argo CD ("{a.yaml,b/*}", seen from the path)
// as a list of globs.
func patterns(text string, recurse bool) []string {
	if strings.HasPrefix(text, "{") && strings.HasSuffix(text, "}") && strings.Count(text, "{") == 1 {
		return strings.Split(strings.Trim(text, "{}"), ",")
	}
	if recurse && !strings.Contains(text, "/") {
		return []string{"**/" + text}
	}
	return []string{text}
}

func (c *converter) jsonnet(a *app, j *handover.Fields, t *handover.Target) {
	out := &handover.Jsonnet{ExtVars: map[string]any{}, TLAs: map[string]any{}}
	for _, part := range []struct {
		from *handover.Fields
		to   map[string]any
	}{{j.At("extVars"), out.ExtVars}, {j.At("tlas"), out.TLAs}} {
		for _, v := range part.from.Items() {
			name, value := v.At("name").Text(), v.At("value").Text()
			switch {
			case v.At("code").Yes():
				c.out.Lost(a.Object, v.Path(), "values for Jsonnet are data, not code", "write the value of "+name+" as YAML under spec.jsonnet")
				t.Hold("the value of " + name + " for Jsonnet is to be written")
			case handover.Secretive(name, value):
				c.out.Lost(a.Object, v.Path(), "what looks like a secret is not copied", "let the manifests take it from a Secret that is encrypted with SOPS")
				t.Hold("the value of " + name + " for Jsonnet looks like a secret and was not copied")
			default:
				part.to[name] = value
			}
		}
	}
	for _, l := range j.At("libs").Texts() { // from the root of the repository
		if p, ok := handover.InTree(l); ok {
			out.Libraries = append(out.Libraries, handover.Relative(t.Path, p))
			t.Input(glob(p))
		}
	}
	t.Spec.Render, t.Spec.Jsonnet = "jsonnet", out
}

// kustomize writes what Argo CD says of a kustomization outside of Git.
func (c *converter) kustomize(a *app, s *handover.Fields, t *handover.Target, r *handover.Repository) {
	k := s.At("kustomize")
	over := handover.Overlay{Base: t.Path, NamePrefix: k.At("namePrefix").Text(), NameSuffix: k.At("nameSuffix").Text(), Namespace: k.At("namespace").Text(),
		Annotations: k.At("commonAnnotations").Map(), Labels: k.At("commonLabels").Map()}
	for _, i := range k.At("images").Texts() {
		over.Images = append(over.Images, image(i))
	}
	for _, x := range k.At("replicas").Items() {
		over.Replicas = append(over.Replicas, x.Any())
	}
	for _, p := range k.At("patches").Items() {
		if file := p.At("path").Text(); file != "" {
			c.out.Lost(a.Object, p.At("path").Path(), "a patch in a file belongs into the kustomization beside it", fmt.Sprintf("list %s under patches of %s/kustomization.yaml", file, t.Path))
			t.Hold("the patch " + file + " is to be listed in its kustomization")
			p.Ignore()
			continue
		}
		over.Patches = append(over.Patches, p.Any())
	}
	for _, p := range k.At("components").Texts() {
		over.Components = append(over.Components, path.Join(t.Path, p))
	}
	c.kustomizeRest(a, k, &over)
	t.Spec.Render = "kustomize"
	if !over.Empty() {
		c.overlay(t, r, over)
	}
}

// overlay lays a kustomization over the path of a target.
func (c *converter) overlay(t *handover.Target, r *handover.Repository, over handover.Overlay) {
	dir := path.Join(c.Dir, t.Name)
	r.Write(path.Join(dir, "kustomization.yaml"), over.File(dir))
	t.Input(glob(t.Path))
	for _, p := range over.Components {
		t.Input(glob(p))
	}
	t.Path = dir
}

func (c *converter) kustomizeRest(a *app, k *handover.Fields, over *handover.Overlay) {
	withSelectors := len(over.Labels) > 0 && !k.At("labelWithoutSelector").Yes()
	if withSelectors {
		over.Selectors = true // as commonLabels does
	}
	over.Templates = k.At("labelIncludeTemplates").Yes()
	k.Ignore("forceCommonLabels", "forceCommonAnnotations")
	for _, f := range []struct{ name, why, do string }{
		{"version", "trueup has one version of Kustomize built in", "nothing, unless the result differs"},
		{"commonAnnotationsEnvsubst", "trueup does not put variables into annotations", "write the annotations in the kustomization"},
		{"ignoreMissingComponents", "a component that is missing is a mistake in trueup", "remove the components that are missing"},
		{"kubeVersion", "a kustomization does not see the version of the cluster", "nothing, unless it inflates charts"},
		{"apiVersions", "a kustomization does not see the kinds of the cluster", "nothing, unless it inflates charts"},
	} {
		if v := k.At(f.name); v.Has() {
			v.Ignore()
			c.out.Differs(a.Object, v.Path(), f.why, f.do)
		}
	}
}

// image reads an image as Argo CD writes it: name=new:tag, new:tag, new@digest.
func image(text string) map[string]any {
	name, rest, renamed := strings.Cut(text, "=")
	if !renamed {
		rest = text
	}
	ref, digest, pinned := strings.Cut(rest, "@")
	tag := ""
	if i := strings.LastIndex(ref, ":"); i > strings.LastIndex(ref, "/") {
		ref, tag = ref[:i], ref[i+1:]
	}
	out := map[string]any{"name": ref}
	if renamed {
		out["name"], out["newName"] = name, ref
	}
	if pinned {
		out["digest"] = digest
	} else if tag != "" {
		out["newTag"] = tag
	}
	return out
}
