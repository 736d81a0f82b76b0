package flux

import (
	"cmp"
	"fmt"
	"slices"

	"trueup.dev/trueup/internal/handover"
)

// forges are the providers that report commit statuses, by the name of the
// forge in server.yaml.
var forges = map[string]string{"github": "github", "gitlab": "gitlab", "gitea": "gitea", "bitbucket": "bitbucket", "bitbucketserver": "bitbucketDataCenter"}

// notifications carries Receivers and Alerts over.
func (c *converter) notifications() {
	for _, o := range c.set.Of(notificationGroup, "Receiver") {
		c.receiver(o)
	}
	for _, o := range c.set.Of(notificationGroup, "Alert") {
		c.alert(o)
	}
	for _, o := range c.set.Of(notificationGroup, "Provider") {
		o.At("spec").Ignore()
	}
}

// receiver makes a webhook of the repositories that it reconciled.
func (c *converter) receiver(o *handover.Object) {
	spec := o.At("spec")
	spec.Ignore("type", "interval", "events")
	secret := spec.At("secretRef", "name").Text()
	found := false
	for _, res := range spec.At("resources").Items() {
		kind, name, ns := res.At("kind").Text(), res.At("name").Text(), cmp.Or(res.At("namespace").Text(), o.GetNamespace())
		res.Ignore("apiVersion", "matchLabels", "filter")
		if kind != "GitRepository" {
			c.out.Lost(o, res.Path(), "webhooks of trueup tell of pushes to Git repositories", "nothing, where a "+kind+" follows such a push")
			continue
		}
		for source, r := range c.sources {
			if source != ns+"/"+name && (name != "*" || !hasNamespace(source, ns)) {
				continue
			}
			found = true
			ref, file := handover.SecretFile(r.Name, "webhook")
			if !slices.Contains(r.WebhookSecrets, ref) {
				r.WebhookSecrets = append(r.WebhookSecrets, ref)
			}
			c.out.Fill(handover.Name("Secret", o.GetNamespace(), secret), "token", "secrets are not copied",
				"put a secret into "+file+" beside server.yaml, set listen.publicURL there, and let `trueup webhook install "+r.Name+"` tell the forge")
		}
	}
	if f := spec.At("resourceFilter"); f.Has() {
		f.Ignore()
		c.out.Lost(o, f.Path(), "a webhook leads to a fetch, whatever it says", "nothing")
	}
	if f := spec.At("oidcProviders"); f.Has() {
		f.Ignore()
		c.out.Lost(o, f.Path(), "webhooks are signed with a shared secret", "let the forge sign with one")
	}
	if spec.At("suspend").Yes() || !found {
		c.out.Differs(o, "", "no webhook is set up for it", "add webhookSecrets to the repositories by hand")
	}
}

func hasNamespace(key, ns string) bool {
	return len(key) > len(ns) && key[:len(ns)+1] == ns+"/"
}

// alert makes a route of notifications, or lets a forge have commit statuses.
func (c *converter) alert(o *handover.Object) {
	spec := o.At("spec")
	name := spec.At("providerRef", "name").Text()
	spec.Ignore("summary", "eventMetadata")
	on := []string{"failed", "held", "stale"}
	if spec.At("eventSeverity").Text() != "error" {
		on = append(on, "drift", "recovered")
	}
	n := handover.Notify{On: on, Targets: c.alerted(o)}
	for _, f := range []string{"inclusionList", "exclusionList"} {
		if v := spec.At(f); v.Has() {
			v.Ignore()
			c.out.Lost(o, v.Path(), "notifications are chosen by what happened, not by words in them", "narrow the route with on, environments and targets")
		}
	}
	if spec.At("suspend").Yes() {
		c.out.Differs(o, "spec.suspend", "a suspended alert is left out", "add a route under notify if it is wanted")
		return
	}
	p := c.set.Find(notificationGroup, "Provider", o.GetNamespace(), name)
	if p == nil {
		c.out.Lost(o, "spec.providerRef", handover.Name("Provider", o.GetNamespace(), name)+" is not among the objects", "give the file that defines it as well")
		return
	}
	kind := p.At("spec", "type").Text()
	if forge := forges[kind]; forge != "" {
		c.statuses(p, forge)
		return
	}
	ref, file := handover.SecretFile("notify", name)
	n.To = ref
	c.out.Notify = append(c.out.Notify, n)
	c.out.Fill(p.String(), "spec.address", "addresses of chats hold secrets", fmt.Sprintf("put the address of this %s as a shoutrrr URL (slack://…, teams://…) into %s beside server.yaml", kind, file))
}

// statuses lets trueup report to the forge of a repository.
func (c *converter) statuses(p *handover.Object, forge string) {
	url := p.At("spec", "address").Text()
	for _, r := range c.out.Repositories {
		if handover.SameRepository(r.URL) != handover.SameRepository(url) {
			continue
		}
		ref, file := handover.SecretFile(r.Name, "forge-token")
		r.Forge = map[string]any{forge: map[string]any{"token": ref}}
		c.out.Fill(p.String(), "spec.secretRef", "secrets are not copied", "put a token that may write statuses and comments into "+file+" beside server.yaml")
		return
	}
	c.out.Lost(p, "spec.address", "no repository that is followed is at this address", "set forge in server.yaml for the repository whose commits get a status")
}

// alerted gives the targets of the sources of events; none is all.
func (c *converter) alerted(o *handover.Object) []string {
	var out []string
	for _, s := range o.At("spec", "eventSources").Items() {
		kind, name, ns := s.At("kind").Text(), s.At("name").Text(), cmp.Or(s.At("namespace").Text(), o.GetNamespace())
		s.Ignore("apiVersion", "matchLabels")
		if name == "*" || c.targets[key(kind, ns, name)] == nil {
			o.At("spec", "eventSources").Ignore()
			return nil
		}
		t := c.targets[key(kind, ns, name)]
		out = append(out, t.Repository+"/"+t.Name)
	}
	return out
}
