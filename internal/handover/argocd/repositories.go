package argocd

import (
	"cmp"
	"regexp"
	"strings"

	"trueup.dev/trueup/internal/handover"
)

var (
	commitID = regexp.MustCompile(`^[0-9a-f]{40}$`)
	version  = regexp.MustCompile(`^v?[0-9]+\.[0-9]+\.[0-9]+([-+][0-9A-Za-z.+-]+)?$`)
	versions = regexp.MustCompile(`^[~^<>=]|^v?[0-9]+(\.[0-9]+)?\.[xX*]$|^\*$|\|\||^v?[0-9]+\.[xX*]`)
)

// repository gives the repository of a source in Git.
func (c *converter) repository(o *handover.Object, text, revision, field string) *handover.Repository {
	url, secret := handover.GitURL(text)
	if secret {
		c.out.Fill(o.String(), field, "the URL holds a user or a password, which is not written down", "put it under credentials of the repository in server.yaml, as a reference")
	}
	branch, tags, commit := c.follow(o, revision, field)
	k := handover.SameRepository(url) + " " + branch + " " + tags + " " + commit
	if r := c.repositories[k]; r != nil {
		return r
	}
	r := &handover.Repository{URL: url, Branch: branch, Tags: tags, Commit: commit, Poll: c.settings.interval}
	r.Name = c.names.Take(handover.BaseName(url), handover.BaseName(url)+"-"+cmp.Or(branch, tags, commit, "default"))
	c.repositories[k] = r
	c.out.Repositories = append(c.out.Repositories, r)
	c.credentials(r)
	return r
}

// follow tells branches, tags and commits apart; Argo CD asks the repository.
func (c *converter) follow(o *handover.Object, revision, field string) (branch, tags, commit string) {
	revision = strings.TrimPrefix(revision, "refs/heads/")
	switch {
	case revision == "" || revision == "HEAD":
		return "", "", ""
	case strings.HasPrefix(revision, "refs/tags/"):
		return "", strings.TrimPrefix(revision, "refs/tags/"), ""
	case commitID.MatchString(revision):
		return "", "", revision
	case versions.MatchString(revision):
		return "", revision, ""
	case version.MatchString(revision):
		c.out.Differs(o, field, "a revision may be a branch or a tag, and "+revision+" is taken for a tag", "write branch in place of tags in server.yaml if it is a branch")
		return "", revision, ""
	}
	return revision, "", ""
}

// credentials sets references in the place of what the Secrets of Argo CD
// hold for a repository, or for all whose URL begins so.
func (c *converter) credentials(r *handover.Repository) {
	o := c.secretOf(r.URL)
	if o == nil {
		return
	}
	data := o.At("stringData")
	r.Credentials = &handover.Credentials{}
	switch {
	case data.At("sshPrivateKey").Has() || handover.SSH(r.URL):
		ref, file := handover.SecretFile(r.Name, "ssh-key")
		r.Credentials.SSHKey, r.Credentials.KnownHosts = ref, "known_hosts"
		c.out.Fill(o.String(), "sshPrivateKey", "secrets are not copied", "put the key sshPrivateKey into "+file+" beside server.yaml, and known_hosts beside it")
	case data.At("githubAppID").Has():
		ref, file := handover.SecretFile(r.Name, "github-app-key")
		r.Credentials = nil
		c.out.Lost(o, "githubAppID", "a GitHub App is set up as the forge of the repository "+r.Name, "write forge: { github: { appId: …, key: \""+ref+"\" } } and put the key githubAppPrivateKey into "+file)
	case data.At("password").Has() || data.At("username").Has():
		ref, file := handover.SecretFile(r.Name, "token")
		r.Credentials.Token = ref
		c.out.Fill(o.String(), "password", "secrets are not copied", "put the key password into "+file+" beside server.yaml; where the user name matters, write username and password in place of token")
	default:
		r.Credentials = nil
	}
	for _, k := range []string{"tlsClientCertData", "gcpServiceAccountKey", "useAzureWorkloadIdentity", "bearerToken", "proxy"} {
		if data.At(k).Has() {
			c.out.Lost(o, k, "trueup logs in to Git with a password, a token or an SSH key", "set credentials of the repository "+r.Name+"; proxies are set in the server's environment")
		}
	}
}

// secretOf finds the Secret for a URL: of that repository, or the longest
// beginning.
func (c *converter) secretOf(url string) *handover.Object {
	var best *handover.Object
	longest := 0
	for _, o := range c.set.Of("", "Secret") {
		at := text(stringData(o)["url"])
		switch o.GetLabels()[secretType] {
		case "repository":
			if at != "" && handover.SameRepository(at) == handover.SameRepository(url) {
				return o
			}
		case "repo-creds":
			if at != "" && strings.HasPrefix(strings.ToLower(url), strings.ToLower(at)) && len(at) > longest {
				best, longest = o, len(at)
			}
		}
	}
	return best
}

func stringData(o *handover.Object) map[string]any {
	m, _ := o.Object["stringData"].(map[string]any)
	return m
}

// home is the repository of a target that belongs to none by itself: the one
// that its Application lies in, or the only one.
func (c *converter) home(o *handover.Object) *handover.Repository {
	if c.Home != "" {
		for _, r := range c.out.Repositories {
			if handover.SameRepository(r.URL) == handover.SameRepository(c.Home) {
				return r
			}
		}
		return c.repository(o, c.Home, "", "")
	}
	if p := c.parent(o); p != nil && p.Is(group, "Application") {
		if spec := p.At("spec", "source"); spec.At("path").Has() {
			return c.repository(p, spec.At("repoURL").Text(), spec.At("targetRevision").Text(), "spec.source")
		}
	}
	if len(c.out.Repositories) == 1 {
		return c.out.Repositories[0]
	}
	return nil
}

// parent finds what made an Application: the ApplicationSet that owns it, or
// the Application that applies it.
func (c *converter) parent(o *handover.Object) *handover.Object { return parent(c.set, o) }

func parent(set *handover.Set, o *handover.Object) *handover.Object {
	for _, r := range o.GetOwnerReferences() {
		if r.Kind == "ApplicationSet" {
			return set.Find(group, r.Kind, o.GetNamespace(), r.Name)
		}
	}
	if id := o.GetAnnotations()["argocd.argoproj.io/tracking-id"]; id != "" { // app:group/Kind:namespace/name
		name, rest, _ := strings.Cut(id, ":")
		ns := o.GetNamespace()
		if a, b, ok := strings.Cut(name, "_"); ok { // of an Application in another namespace
			ns, name = a, b
		}
		if strings.HasSuffix(rest, ":"+o.GetNamespace()+"/"+o.GetName()) {
			return set.Find(group, "Application", ns, name)
		}
	}
	if n := o.GetLabels()["app.kubernetes.io/instance"]; n != "" && n != o.GetName() {
		return set.Find(group, "Application", o.GetNamespace(), n)
	}
	var best *handover.Object
	longest := 0
	for _, a := range set.Of(group, "Application") {
		spec, _ := a.Object["spec"].(map[string]any)
		source, _ := spec["source"].(map[string]any)
		if p, ok := handover.InTree(text(source["path"])); ok && len(p) > longest && a != o && below(o, p) {
			best, longest = a, len(p)
		}
	}
	return best
}

// below tells whether an object's file lies in a directory of a repository.
func below(o *handover.Object, dir string) bool {
	return dir != "." && strings.Contains("/"+o.Source.File, "/"+dir+"/")
}
