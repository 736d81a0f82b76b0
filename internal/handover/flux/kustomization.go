package flux

import (
	"cmp"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/handover"
)

// kustomization makes a target of a Kustomization.
func (c *converter) kustomization(o *handover.Object) {
	spec := o.At("spec")
	t := &handover.Target{}
	r := c.source(o, t)
	dir, ok := handover.InTree(spec.At("path").Text())
	if r == nil || !ok || c.onlyDefinitions(o, r, dir) {
		if r != nil && !ok {
			c.out.Lost(o, "spec.path", fmt.Sprintf("%q leaves the repository", spec.At("path").Text()), "correct the path")
		}
		c.unconverted(o)
		return
	}
	env := c.environment(o, "correct")
	c.place(t, o, r, env)
	c.account(o, t, env)
	t.Path = dir
	c.layOver(o, t, r)
	env.Grant(r.Name, nil, t.Path)
	c.kustomizationHealth(o, t)
	c.decryption(o, env)
	c.postBuild(o, t)
	if !spec.At("prune").Yes() {
		t.Mode = "addOnly"
	}
	if spec.At("suspend").Yes() {
		t.Hold("suspended in Flux")
	}
	c.kustomizationRest(o, t)
}

// unconverted marks the fields of an object that no target was made of.
func (c *converter) unconverted(o *handover.Object) { o.At("spec").Ignore() }

// source finds where the manifests come from. An OCI artefact is read by a
// target of the home repository.
func (c *converter) source(o *handover.Object, t *handover.Target) *handover.Repository {
	ref := o.At("spec", "sourceRef")
	kind, name := ref.At("kind").Text(), ref.At("name").Text()
	ns := cmp.Or(ref.At("namespace").Text(), o.GetNamespace())
	ref.Ignore("apiVersion")
	switch kind {
	case "GitRepository":
		if r := c.sources[ns+"/"+name]; r != nil {
			return r
		}
		c.out.Lost(o, "spec.sourceRef", handover.Name(kind, ns, name)+" is not among the objects", "give the file that defines it as well")
	case "OCIRepository":
		if oci := c.set.Find(sourceGroup, kind, ns, name); oci != nil {
			return c.fromArtefact(o, oci, t)
		}
		c.out.Lost(o, "spec.sourceRef", handover.Name(kind, ns, name)+" is not among the objects", "give the file that defines it as well")
	default:
		c.out.Lost(o, "spec.sourceRef", "trueup does not read from a "+kind, "keep the manifests in Git, or push them as an OCI artefact")
	}
	return nil
}

func (c *converter) fromArtefact(o, oci *handover.Object, t *handover.Target) *handover.Repository {
	r := c.home(o)
	if r == nil {
		c.out.Lost(o, "spec.sourceRef", "a target stands in a Git repository, and there is none for this one", "name one with --home")
		return nil
	}
	t.Spec.Source = c.artefact(o, oci, t)
	if dir, ok := handover.InTree(o.At("spec", "path").Text()); ok && dir != "." {
		t.Spec.Source.Path = dir
	}
	return r
}

// layOver writes what Flux says of the manifests outside of the path: patches,
// images, a namespace.
func (c *converter) layOver(o *handover.Object, t *handover.Target, r *handover.Repository) {
	spec := o.At("spec")
	over := handover.Overlay{Base: t.Path, Namespace: spec.At("targetNamespace").Text(), NamePrefix: spec.At("namePrefix").Text(), NameSuffix: spec.At("nameSuffix").Text(),
		Labels: spec.At("commonMetadata", "labels").Map(), Annotations: spec.At("commonMetadata", "annotations").Map()}
	over.Patches = c.patches(spec)
	if c.mixed(o, t.Path) {
		over.Patches = append([]any{withoutOwn()}, over.Patches...)
	}
	for _, i := range spec.At("images").Items() {
		over.Images = append(over.Images, i.Any())
	}
	for _, p := range spec.At("components").Texts() {
		over.Components = append(over.Components, path.Join(t.Path, p))
	}
	used := r.Name + " " + t.Environment + " " + t.Path
	if over.Empty() && !c.paths[used] && t.Spec.Source == nil {
		c.paths[used] = true
		return
	}
	if t.Spec.Source != nil {
		if !over.Empty() {
			c.out.Lost(o, "spec", "patches, images, prefixes and namespaces can't be laid over an OCI artefact", "put them into the artefact's own kustomization")
			t.Hold("its kustomization lacks what Flux laid over the artefact")
		}
		t.Path = path.Join(c.Dir, t.Name)
		r.Write(path.Join(t.Path, "artefact.yaml"), "# The manifests come from "+t.Spec.Source.URL+": see spec.source in trueup.yaml.\n")
		return
	}
	dir := path.Join(c.Dir, t.Name)
	c.base(o, r, t.Path)
	r.Write(path.Join(dir, "kustomization.yaml"), over.File(dir))
	t.Input(glob(t.Path))
	for _, p := range over.Components {
		t.Input(glob(p))
	}
	t.Path, t.Spec.Render = dir, "kustomize"
}

// glob covers a directory; what may be written of it in a glob is quoted.
func glob(dir string) string {
	if dir == "." {
		return "**"
	}
	return dir + "/**"
}

// base sees to it that a directory can be the base of an overlay: Flux writes
// a kustomization where there is none.
func (c *converter) base(o *handover.Object, r *handover.Repository, dir string) {
	file := path.Join(dir, "kustomization.yaml")
	tree := c.Tree(r.URL)
	if tree == nil {
		c.out.Differs(o, "spec.path", "Flux writes a kustomization.yaml where there is none",
			fmt.Sprintf("if %s has none, write %s with its manifests under resources, or import again with --checkout", dir, file))
		return
	}
	if info, err := fs.Stat(tree, dir); err != nil || !info.IsDir() || handover.Kustomized(tree, dir) {
		return
	}
	r.Write(file, handover.YAML(map[string]any{"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": handover.Plain(tree, dir)}))
	c.out.Differs(o, "spec.path", dir+" has no kustomization.yaml; Flux writes one whenever it applies", "one is written that lists its manifests: list new ones there")
}

// patches reads the patches of all versions of the API in Kustomize's form.
func (c *converter) patches(spec *handover.Fields) []any {
	var out []any
	for _, p := range spec.At("patches").Items() {
		out = append(out, p.Any())
	}
	for _, p := range spec.At("patchesStrategicMerge").Items() {
		out = append(out, map[string]any{"patch": handover.YAML(p.Any())})
	}
	for _, p := range spec.At("patchesJson6902").Items() {
		out = append(out, map[string]any{"patch": handover.YAML(p.At("patch").Any()), "target": p.At("target").Any()})
	}
	return out
}

func (c *converter) decryption(o *handover.Object, env *handover.Environment) {
	d := o.At("spec", "decryption")
	if !d.Has() {
		return
	}
	if p := d.At("provider").Text(); p != "sops" {
		c.out.Lost(o, d.Path()+".provider", "trueup decrypts with SOPS, not with "+p, "encrypt the files with SOPS")
	}
	if sa := d.At("serviceAccountName"); sa.Has() {
		sa.Ignore()
		c.out.Lost(o, sa.Path(), "keys of a cloud's KMS are used with the server's own identity", "let the server's identity use the key, and list the kind of key under connect.sops.types")
	}
	name := d.At("secretRef", "name").Text()
	if name == "" {
		return
	}
	ref, file := handover.SecretFile(env.Name, name, "age")
	if env.Connect.SOPS == nil {
		env.Connect.SOPS = &handover.SOPS{}
	}
	if !slices.Contains(env.Connect.SOPS.Age, ref) {
		env.Connect.SOPS.Age = append(env.Connect.SOPS.Age, ref)
	}
	c.out.Fill(handover.Name("Secret", o.GetNamespace(), name), "", "secrets are not copied",
		"put its age identity (the key that ends in .agekey) into "+file+" beside server.yaml; for PGP or a cloud's KMS see connect.sops in the documentation")
}

// postBuild has no counterpart, and what is left of a variable would be
// applied as it stands: the target waits for a person.
func (c *converter) postBuild(o *handover.Object, t *handover.Target) {
	p := o.At("spec", "postBuild")
	if !p.Has() {
		return
	}
	names := p.At("substitute").Keys()
	p.At("substitute").Ignore()
	do := "write the values into the manifests, or into patches of an overlay for each cluster; values of other targets' outputs can be used with spec.templates. Then remove suspend"
	if len(names) > 0 {
		c.out.Lost(o, "spec.postBuild.substitute", "trueup does not replace ${…} in manifests; these are: "+strings.Join(names, ", "), do)
	}
	for _, f := range p.At("substituteFrom").Items() {
		from := handover.Name(f.At("kind").Text(), o.GetNamespace(), f.At("name").Text())
		f.Ignore("optional")
		c.out.Lost(o, f.Path(), "trueup does not replace ${…} in manifests, here by what "+from+" holds", do)
	}
	t.Hold("its manifests hold ${…} that Flux replaced (postBuild)")
}

func (c *converter) kustomizationRest(o *handover.Object, t *handover.Target) {
	spec := o.At("spec")
	if spec.At("force").Yes() {
		c.out.Lost(o, "spec.force", "which kinds may be deleted and created anew is up to the operator", "list the kinds, such as Job.batch, under connect.recreate of the environment "+t.Environment)
	}
	if v := spec.At("retryInterval"); v.Has() {
		v.Ignore()
		c.out.Differs(o, v.Path(), "a failed run is tried again after 5s at first, up to 10m", "limits.retryMin and retryMax set other times, for the whole server")
	}
	if v := spec.At("ignoreMissingComponents"); v.Yes() {
		c.out.Lost(o, v.Path(), "a component that is missing is a mistake in trueup", "remove the components that are missing")
	}
	if p := spec.At("deletionPolicy").Text(); p == "Delete" || p == "WaitForTermination" {
		c.out.Differs(o, "spec.deletionPolicy", "a target that leaves Git leaves its objects where they are", "onRemove: destroy removes them, after an approval")
	}
	if v := spec.At("validation"); v.Has() {
		v.Ignore() // of the first versions: a dry run always comes first
	}
}
