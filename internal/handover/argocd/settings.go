package argocd

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"trueup.dev/trueup/internal/handover"
)

// settings are what Argo CD's ConfigMaps say for all Applications.
type settings struct {
	interval handover.Duration
	ignore   []handover.Ignore
	accounts []string
	roles    map[string]string // subject -> role of trueup
	tracking string            // label, annotation, annotation+label
}

// readSettings carries argocd-cm over, and tells of the others.
func (c *converter) readSettings() {
	for _, o := range c.set.Of("", "ConfigMap") {
		if !slices.Contains(configMaps, o.GetName()) {
			continue
		}
		o.At("metadata").Ignore()
		data := o.At("data")
		switch o.GetName() {
		case "argocd-cm":
			for _, k := range data.Keys() {
				c.setting(o, k, data.At(k).Text())
			}
		case "argocd-rbac-cm":
			c.rbac(o, data)
		case "argocd-ssh-known-hosts-cm":
			data.Ignore()
			c.out.Fill(o.String(), "ssh_known_hosts", "trueup checks the keys of hosts as well", "put the key ssh_known_hosts into known_hosts beside server.yaml")
		case "argocd-gpg-keys-cm", "argocd-tls-certs-cm":
			for _, k := range data.Keys() {
				data.Ignore(k)
				c.out.Lost(o, k, "keys and certificates are files of the operator", "put them beside server.yaml and name them under signatures.gpg, or under credentials.ca and sources.ca")
			}
		default:
			for _, k := range data.Keys() {
				data.Ignore(k)
				c.out.Lost(o, k, "trueup is set up in server.yaml", map[bool]string{true: "add routes under notify", false: "see limits and listen"}[o.GetName() == "argocd-notifications-cm"])
			}
		}
	}
}

// told are settings that have another counterpart, by the beginning of their
// names.
var told = []struct{ prefix, why, do string }{
	{"url", "where people reach the server is set in server.yaml", "set listen.publicURL"},
	{"dex.", "who somebody is comes from tokens and forges", "list people under users in server.yaml"},
	{"oidc.", "who somebody is comes from tokens and forges", "list people under users in server.yaml"},
	{"admin.enabled", "there is no built-in administrator", "give somebody role: admin under users in server.yaml"},
	{"resource.customizations.health.", "health is said in CEL, not in Lua", "add a rule under expressions of the targets' health checks, if the kind has no conditions that say it"},
	{"resource.customizations.actions.", "trueup has no actions on objects", "use kubectl"},
	{"resource.customizations.knownTypeFields.", "the API server compares objects by itself", "nothing"},
	{"resource.customizations.useOpenLibs.", "health is said in CEL, not in Lua", "nothing"},
	{"resource.exclusions", "trueup reads the kinds that its targets have, and no others", "nothing"},
	{"resource.inclusions", "trueup reads the kinds that its targets have, and no others", "nothing"},
	{"resource.compareoptions", "the API server compares objects by a dry run", "nothing, or spec.ignoreDifferences"},
	{"kustomize.", "Kustomize is built in, with its own options", "see the rendering of the kubernetes driver"},
	{"helm.", "Helm is built in, with its own options", "see the rendering of the kubernetes driver"},
	{"jsonnet.", "Jsonnet is built in", "see the rendering of the kubernetes driver"},
	{"configManagementPlugins", "trueup runs no plug-ins that make manifests", "keep rendered manifests in Git"},
	{"repositories", "repositories are listed in server.yaml", "look whether all of them are there"},
	{"repository.credentials", "credentials are references in server.yaml", "set credentials of each repository"},
	{"ui.", "it is about Argo CD's pages", "nothing"}, {"help.", "it is about Argo CD's pages", "nothing"}, {"users.", "it is about Argo CD's pages", "nothing"},
	{"ga.", "it is about Argo CD's pages", "nothing"}, {"statusbadge.", "it is about Argo CD's pages", "nothing"}, {"exec.", "trueup opens no terminals", "use kubectl exec"},
	{"application.links", "it is about Argo CD's pages", "nothing"}, {"resource.links", "it is about Argo CD's pages", "nothing"}, {"project.links", "it is about Argo CD's pages", "nothing"},
	{"timeout.", "how often is looked for changes is set for repositories and policies", "see poll and driftInterval"},
	{"webhook.", "webhooks are signed with a secret of each repository", "set webhookSecrets, and use trueup webhook install"},
	{"server.rbac.", "who may do what is said by roles and policies", "nothing"},
	{"impersonation.", "which service accounts targets may use is said by connect.serviceAccounts", "those of destinationServiceAccounts are carried over"},
	{"application.instanceLabelKey", "trueup knows what it owns by its own records, not by a label", "nothing"},
	{"installationID", "trueup knows what it owns by its own records, not by an annotation", "nothing"},
}

func (c *converter) setting(o *handover.Object, key, value string) {
	switch {
	case key == "timeout.reconciliation":
		if d, err := time.ParseDuration(value); err == nil && d >= time.Second {
			c.settings.interval = handover.Duration(d)
		}
		return
	case key == "application.resourceTrackingMethod":
		c.settings.tracking = value
		return
	case strings.HasPrefix(key, "accounts."):
		name, part, _ := strings.Cut(strings.TrimPrefix(key, "accounts."), ".")
		if part == "" && !slices.Contains(c.settings.accounts, name) {
			c.settings.accounts = append(c.settings.accounts, name)
		}
		return
	case strings.HasPrefix(key, "resource.customizations.ignoreDifferences."):
		c.ignoreSetting(o, key, strings.TrimPrefix(key, "resource.customizations.ignoreDifferences."), value)
		return
	case strings.HasPrefix(key, "resource.customizations.ignoreResourceUpdates."), key == "resource.ignoreResourceUpdatesEnabled":
		return // only how often Argo CD looks
	}
	for _, t := range told {
		if strings.HasPrefix(key, t.prefix) {
			c.out.Lost(o, key, t.why, t.do)
			return
		}
	}
	c.out.Lost(o, key, "trueup's import does not know this setting", "look at what it does there")
}

// ignoreSetting carries over what of all objects of a kind is left to others.
func (c *converter) ignoreSetting(o *handover.Object, key, kind, value string) {
	var rule struct {
		JSONPointers          []string `json:"jsonPointers"`
		JQPathExpressions     []string `json:"jqPathExpressions"`
		ManagedFieldsManagers []string `json:"managedFieldsManagers"`
	}
	if err := yaml.Unmarshal([]byte(value), &rule); err != nil {
		c.out.Lost(o, key, "it can't be read", "write it under spec.ignoreDifferences of the targets")
		return
	}
	i := handover.Ignore{Pointers: rule.JSONPointers, Managers: rule.ManagedFieldsManagers}
	if kind != "all" {
		if at := strings.LastIndex(kind, "_"); at >= 0 {
			i.Group, i.Kind = kind[:at], kind[at+1:]
		} else {
			i.Kind = kind
		}
	}
	for n, q := range rule.JQPathExpressions {
		c.jq(o, fmt.Sprintf("%s.jqPathExpressions[%d]", key, n), q, &i)
	}
	if len(i.Pointers)+len(i.Expressions)+len(i.Managers) > 0 {
		c.settings.ignore = append(c.settings.ignore, i)
	}
}

// roles of a project are told: who somebody is comes from elsewhere.
func (c *converter) roles(p *handover.Object) {
	for _, r := range p.At("spec", "roles").Items() {
		name := r.At("name").Text()
		groups, policies := r.At("groups").Texts(), r.At("policies").Texts()
		r.Ignore("description")
		if r.At("jwtTokens").Has() {
			r.Ignore("jwtTokens")
			c.out.Lost(p, r.At("jwtTokens").Path(), "tokens are not copied", "make a user with a token of its own for each machine (trueup token)")
		}
		who := "the holders of its tokens"
		if len(groups) > 0 {
			who = "the members of " + strings.Join(groups, ", ")
		}
		c.out.Lost(p, r.Path(), fmt.Sprintf("the role %s of %s: who may do what is said by users and policies", name, who),
			fmt.Sprintf("give them role: %s with the environments of the project, under users in server.yaml", roleOf(policies)))
	}
}

// roleOf is the role of trueup that comes next to what policies allow.
func roleOf(policies []string) string {
	role := "viewer"
	for _, line := range policies {
		f := fields(line)
		if len(f) < 6 || f[0] != "p" || f[5] != "allow" {
			continue
		}
		if f[2] == "*" || f[2] == "applications" && slices.Contains([]string{"sync", "*", "override", "update", "create"}, f[3]) {
			role = "operator"
		}
	}
	return role
}

func fields(line string) []string {
	var out []string
	for f := range strings.SplitSeq(line, ",") {
		out = append(out, strings.TrimSpace(f))
	}
	return out
}
