package argocd

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/handover"
)

// rbac reads who may do what. Local accounts become users; groups of a single
// sign-on are told, because trueup has no sign-on of its own.
func (c *converter) rbac(o *handover.Object, data *handover.Fields) {
	policies, groups := map[string][]string{}, map[string][]string{} // role -> lines; subject -> roles
	for _, k := range data.Keys() {
		v := data.At(k).Text()
		switch {
		case k == "policy.default":
			if v != "" {
				c.out.Lost(o, k, "everybody else had "+v+"; in trueup nobody has a right without being a user", "list people under users in server.yaml")
			}
		case k == "scopes" || k == "policy.matchMode":
			c.out.Lost(o, k, "who somebody is comes from tokens and forges", "nothing")
		case strings.HasPrefix(k, "policy.") && strings.HasSuffix(k, "csv"):
			c.policyLines(o, k, v, policies, groups)
		default:
			c.out.Lost(o, k, "trueup's import does not know this setting", "look at what it does there")
		}
	}
	c.settings.roles = map[string]string{}
	for _, subject := range slices.Sorted(maps.Keys(groups)) {
		role := "viewer"
		for _, r := range groups[subject] {
			switch {
			case r == "role:admin":
				role = "admin"
			case r != "role:readonly" && role != "admin" && roleOf(policies[r]) == "operator":
				role = "operator"
			}
		}
		c.settings.roles[subject] = role
	}
}

func (c *converter) policyLines(o *handover.Object, key, text string, policies, groups map[string][]string) {
	for i, line := range strings.Split(text, "\n") {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		f := fields(line)
		switch {
		case f[0] == "g" && len(f) == 3:
			groups[f[1]] = append(groups[f[1]], f[2])
		case f[0] == "p" && len(f) == 6 && f[5] == "deny":
			c.out.Lost(o, fmt.Sprintf("%s line %d", key, i+1), "roles say what is allowed: "+line, "give the people a role without it")
		case f[0] == "p" && len(f) == 6:
			policies[f[1]] = append(policies[f[1]], line)
			if !strings.HasPrefix(f[1], "role:") {
				groups[f[1]] = append(groups[f[1]], f[1])
			}
		default:
			c.out.Lost(o, fmt.Sprintf("%s line %d", key, i+1), "it can't be read", "look at what it does there")
		}
	}
}

// accounts makes users of local accounts, and tells of everybody else.
func (c *converter) accounts() {
	for _, name := range slices.Sorted(slices.Values(c.settings.accounts)) {
		role := c.settings.roles[name]
		if role == "" {
			role = "viewer"
		}
		c.out.Users = append(c.out.Users, handover.User{Name: handover.Clean(name), Role: role})
		c.out.Fill("account "+name, "", "passwords and tokens are not copied", "give the user "+handover.Clean(name)+" a tokenHash in server.yaml (trueup token), or the logins on a forge")
	}
	for _, subject := range sortedKeys(c.settings.roles) {
		if !slices.Contains(c.settings.accounts, subject) {
			c.out.Fill("argocd-rbac-cm "+subject, "", "who is in a group of the single sign-on is not known here", fmt.Sprintf("give its members role: %s under users in server.yaml", c.settings.roles[subject]))
		}
	}
}
