package flux

import (
	"cmp"
	"strings"
	"time"

	"trueup.dev/trueup/internal/handover"
)

// gitRepositories makes a repository of every GitRepository; those that are
// the same, at the same branch or tag, become one.
func (c *converter) gitRepositories() {
	for _, o := range c.set.Of(sourceGroup, "GitRepository") {
		spec := o.At("spec")
		text := spec.At("url").Text()
		url, secret := handover.GitURL(text)
		if secret {
			c.out.Fill(o.String(), "spec.url", "the URL holds a user or a password, which is not written down", "put it under credentials of the repository in server.yaml, as a reference")
		}
		branch, tags, commit := c.ref(o, spec.At("ref"))
		k := handover.SameRepository(url) + " " + branch + " " + tags + " " + commit
		r := c.repositories[k]
		if r == nil {
			r = &handover.Repository{URL: url, Branch: branch, Tags: tags, Commit: commit}
			r.Name = c.names.Take(handover.BaseName(url), handover.BaseName(url)+"-"+cmp.Or(branch, tags, commit))
			c.repositories[k] = r
			c.out.Repositories = append(c.out.Repositories, r)
		}
		c.sources[o.Key()] = r
		c.gitRepository(o, r)
	}
}

func (c *converter) gitRepository(o *handover.Object, r *handover.Repository) {
	spec := o.At("spec")
	if d := handover.Duration(spec.At("interval").Duration()); d >= handover.Duration(time.Second) && (r.Poll == 0 || d < r.Poll) {
		r.Poll = d
	}
	r.Submodules = spec.At("recurseSubmodules").Yes() || r.Submodules
	c.credentials(o, r)
	if v := spec.At("verify"); v.Has() {
		c.signatures(o, v, r)
	}
	if spec.At("suspend").Yes() {
		c.out.Differs(o, "spec.suspend", "a repository can't be suspended in trueup", "suspend its targets, or set freeze")
	}
	for _, f := range []struct{ name, why, do string }{
		{"timeout", "limits.fetchTimeout holds for all repositories", "set it in server.yaml if fetching takes longer than 2m"},
		{"ignore", "trueup has no list of ignored files", "keep such files out of the targets' paths, or list them under spec.exclude"},
		{"include", "trueup does not copy one repository into another", "use a submodule, or one repository"},
		{"sparseCheckout", "trueup reads what targets declare, and nothing else", "nothing"},
		{"proxySecretRef", "proxies are set for the whole server", "set HTTPS_PROXY in the server's environment"},
		{"serviceAccountName", "trueup logs in to Git by references", "set credentials, or forge with an app's key"},
	} {
		if v := spec.At(f.name); v.Has() {
			v.Ignore()
			c.out.Differs(o, v.Path(), f.why, f.do)
		}
	}
	switch p := spec.At("provider").Text(); p {
	case "", "generic":
	default:
		c.out.Lost(o, "spec.provider", "trueup logs in to Git by references, not by the identity of provider "+p, "set credentials with a token or a key; for a GitHub App set forge.github with appId and key")
	}
}

// ref reads what is followed.
func (c *converter) ref(o *handover.Object, ref *handover.Fields) (branch, tags, commit string) {
	branch, tag, semver, name := ref.At("branch").Text(), ref.At("tag").Text(), ref.At("semver").Text(), ref.At("name").Text()
	commit = ref.At("commit").Text()
	switch { // the order in which Flux chooses
	case commit != "":
		return "", "", commit
	case strings.HasPrefix(name, "refs/heads/"):
		return strings.TrimPrefix(name, "refs/heads/"), "", ""
	case strings.HasPrefix(name, "refs/tags/"):
		return "", strings.TrimPrefix(name, "refs/tags/"), ""
	case name != "":
		c.out.Lost(o, "spec.ref.name", "trueup follows branches and tags, not "+name, "name a branch or a tag in server.yaml")
		return "", "", ""
	case semver != "":
		return "", semver, ""
	case tag != "":
		return "", tag, ""
	}
	return cmp.Or(branch, "master"), "", ""
}

// credentials sets references in the place of Secrets, which are not read.
func (c *converter) credentials(o *handover.Object, r *handover.Repository) {
	name := o.At("spec", "secretRef", "name").Text()
	if name == "" || r.Credentials != nil {
		return
	}
	secret := handover.Name("Secret", o.GetNamespace(), name)
	r.Credentials = &handover.Credentials{}
	if handover.SSH(r.URL) {
		ref, file := handover.SecretFile(r.Name, "ssh-key")
		r.Credentials.SSHKey = ref
		r.Credentials.KnownHosts = strings.TrimPrefix(file, "file:") + "-known-hosts"
		c.out.Fill(secret, "identity", "secrets are not copied", "put the key identity into "+file+" beside server.yaml, and known_hosts into "+r.Credentials.KnownHosts)
		return
	}
	ref, file := handover.SecretFile(r.Name, "token")
	r.Credentials.Token = ref
	c.out.Fill(secret, "password", "secrets are not copied", "put the key password (or bearerToken) into "+file+" beside server.yaml; where the user name matters, write username and password in place of token; a ca.crt belongs into a file that credentials.ca names")
}

func (c *converter) signatures(o *handover.Object, v *handover.Fields, r *handover.Repository) {
	mode := v.At("mode").Text()
	name := v.At("secretRef", "name").Text()
	_, file := handover.SecretFile(r.Name, "signers.asc")
	r.Signatures = &handover.Signatures{Require: "commits", GPG: []string{file}}
	if strings.HasPrefix(mode, "Tag") {
		r.Signatures.Require = "tags"
	}
	if mode == "TagAndHEAD" {
		c.out.Differs(o, v.At("mode").Path(), "trueup checks the signatures of tags or of commits, not both", "choose with signatures.require")
	}
	c.out.Fill(handover.Name("Secret", o.GetNamespace(), name), "", "keys are not copied", "put the public keys into "+file+" beside server.yaml")
}

// home is the repository of a target that belongs to none by itself.
func (c *converter) home(o *handover.Object) *handover.Repository {
	if c.Home != "" {
		return c.at(c.Home)
	}
	if p := c.parent(o); p != nil {
		if r := c.sourceOf(p); r != nil {
			return r
		}
	}
	if r := c.sources[namespace+"/"+namespace]; r != nil {
		return r
	}
	if len(c.out.Repositories) == 1 {
		return c.out.Repositories[0]
	}
	return nil
}

// at gives the repository with a URL, whatever of it is followed.
func (c *converter) at(url string) *handover.Repository {
	for _, r := range c.out.Repositories {
		if handover.SameRepository(r.URL) == handover.SameRepository(url) {
			return r
		}
	}
	clean, _ := handover.GitURL(url)
	r := &handover.Repository{URL: clean, Name: c.names.Take(handover.BaseName(clean))}
	c.out.Repositories = append(c.out.Repositories, r)
	return r
}

// sourceOf gives the Git repository of a Kustomization, or nil.
func (c *converter) sourceOf(k *handover.Object) *handover.Repository {
	ref := k.At("spec", "sourceRef")
	if ref.At("kind").Text() != "GitRepository" {
		return nil
	}
	return c.sources[cmp.Or(ref.At("namespace").Text(), k.GetNamespace())+"/"+ref.At("name").Text()]
}

// parent finds the Kustomization that applies an object: by the labels that
// Flux sets, or by the file that it was read from.
func (c *converter) parent(o *handover.Object) *handover.Object {
	labels := o.GetLabels()
	if n := labels[kustomizeGroup+"/name"]; n != "" {
		return c.set.Find(kustomizeGroup, "Kustomization", labels[kustomizeGroup+"/namespace"], n)
	}
	var best *handover.Object
	longest := 0
	for _, k := range c.set.Of(kustomizeGroup, "Kustomization") {
		if p, ok := handover.InTree(k.At("spec", "path").Text()); ok && len(p) > longest && k != o && below(o, p) {
			best, longest = k, len(p)
		}
	}
	return best
}

// below tells whether an object's file lies in a directory of a repository.
func below(o *handover.Object, dir string) bool {
	return dir != "." && strings.Contains("/"+o.Source.File, "/"+dir+"/")
}
