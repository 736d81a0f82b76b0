package manifest_test

import (
	"testing"

	"pgregory.net/rapid"

	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/plan"
)

func TestAddressesNameOneObject(t *testing.T) {
	for want, r := range map[plan.Address]manifest.Ref{
		"Deployment.apps/web/api":                      {Group: "apps", Kind: "Deployment", Namespace: "web", Name: "api"},
		"ConfigMap/web/settings":                       {Kind: "ConfigMap", Namespace: "web", Name: "settings"},
		"Namespace/web":                                {Kind: "Namespace", Name: "web"},
		"ClusterRole.rbac.authorization.k8s.io/a:b.c":  {Group: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: "a:b.c"},
		"Role.rbac.authorization.k8s.io/web/system:me": {Group: "rbac.authorization.k8s.io", Kind: "Role", Namespace: "web", Name: "system:me"},
	} {
		if got := r.Address(); got != want {
			t.Errorf("%+v: %q, not %q", r, got, want)
		}
		if got, err := manifest.ParseAddress(want); err != nil || got != r {
			t.Errorf("%q: %+v, %v", want, got, err)
		}
	}
	for _, bad := range []plan.Address{"", "x", "/x", "Pod/", "Pod//x", "a/b/c/d", ".apps/x"} {
		if r, err := manifest.ParseAddress(bad); err == nil {
			t.Errorf("%q was read as %+v", bad, r)
		}
	}
}

func TestAddressesComeBack(t *testing.T) {
	word := rapid.StringMatching(`[a-z0-9]([-a-z0-9]{0,8}[a-z0-9])?`)
	rapid.Check(t, func(t *rapid.T) {
		r := manifest.Ref{Kind: rapid.StringMatching(`[A-Z][A-Za-z0-9]{0,8}`).Draw(t, "kind"), Name: word.Draw(t, "name")}
		if rapid.Bool().Draw(t, "grouped") {
			r.Group = word.Draw(t, "group") + "." + word.Draw(t, "domain")
		}
		if rapid.Bool().Draw(t, "namespaced") {
			r.Namespace = word.Draw(t, "namespace")
		}
		if got, err := manifest.ParseAddress(r.Address()); err != nil || got != r {
			t.Fatalf("%+v: %q, %+v, %v", r, r.Address(), got, err)
		}
	})
}
