package kubefake

import (
	"net/http"
	"strings"

	discovery "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/version"
)

const aggregatedType = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

// discover answers what is no resource: discovery, the version, health.
func (s *Server) discover(h *http.Request) (int, any, error) {
	aggregated := strings.Contains(h.Header.Get("Accept"), aggregatedType)
	parts := strings.Split(strings.Trim(h.URL.Path, "/"), "/")
	switch {
	case h.URL.Path == "/version":
		return http.StatusOK, version.Info{Major: "1", Minor: "37", GitVersion: s.Version}, nil
	case parts[0] == "healthz" || parts[0] == "livez" || parts[0] == "readyz":
		return http.StatusOK, "ok", nil
	case (h.URL.Path == "/api" || h.URL.Path == "/apis") && aggregated:
		return http.StatusOK, typed{aggregatedType, s.aggregated(h.URL.Path == "/api")}, nil
	case h.URL.Path == "/api":
		return http.StatusOK, metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"}}, nil
	case h.URL.Path == "/apis":
		return http.StatusOK, s.groups(), nil
	case parts[0] == "api" && len(parts) == 2:
		return s.resources(schema.GroupVersion{Version: parts[1]})
	case parts[0] == "apis" && len(parts) == 2:
		for _, g := range s.groups().Groups {
			if g.Name == parts[1] {
				g.TypeMeta = metav1.TypeMeta{Kind: "APIGroup", APIVersion: "v1"}
				return http.StatusOK, g, nil
			}
		}
	case parts[0] == "apis" && len(parts) == 3:
		return s.resources(schema.GroupVersion{Group: parts[1], Version: parts[2]})
	}
	return 0, nil, noSuchPath()
}

func (s *Server) groups() metav1.APIGroupList {
	out := metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}}
	names, versions := s.kinds.groupVersions()
	for _, g := range names {
		if g == "" {
			continue
		}
		group := metav1.APIGroup{Name: g}
		for _, v := range versions[g] {
			group.Versions = append(group.Versions, metav1.GroupVersionForDiscovery{GroupVersion: g + "/" + v, Version: v})
		}
		group.PreferredVersion = group.Versions[0]
		out.Groups = append(out.Groups, group)
	}
	return out
}

func (s *Server) resources(gv schema.GroupVersion) (int, any, error) {
	if s.faults.down[gv.String()] {
		return 0, nil, unavailable()
	}
	out := metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: gv.String()}
	for _, k := range s.kinds.list {
		if k.gvk.GroupVersion() != gv {
			continue
		}
		r := metav1.APIResource{Name: k.plural, SingularName: k.singular, Namespaced: k.namespaced, Kind: k.gvk.Kind, Verbs: verbs, ShortNames: k.short}
		out.APIResources = append(out.APIResources, r)
		if k.status {
			r.Name, r.SingularName, r.Verbs, r.ShortNames = k.plural+"/status", "", metav1.Verbs{"get", "patch", "update"}, nil
			out.APIResources = append(out.APIResources, r)
		}
	}
	if len(out.APIResources) == 0 {
		return 0, nil, noSuchPath()
	}
	return http.StatusOK, out, nil
}

func (s *Server) aggregated(core bool) discovery.APIGroupDiscoveryList {
	out := discovery.APIGroupDiscoveryList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupDiscoveryList", APIVersion: "apidiscovery.k8s.io/v2"}}
	names, versions := s.kinds.groupVersions()
	for _, g := range names {
		if (g == "") != core {
			continue
		}
		group := discovery.APIGroupDiscovery{ObjectMeta: metav1.ObjectMeta{Name: g}}
		for _, v := range versions[g] {
			one := discovery.APIVersionDiscovery{Version: v, Freshness: discovery.DiscoveryFreshnessCurrent}
			if s.faults.down[schema.GroupVersion{Group: g, Version: v}.String()] {
				one.Freshness = discovery.DiscoveryFreshnessStale
			}
			for _, k := range s.kinds.list {
				if k.gvk.Group == g && k.gvk.Version == v {
					one.Resources = append(one.Resources, k.aggregated())
				}
			}
			group.Versions = append(group.Versions, one)
		}
		out.Items = append(out.Items, group)
	}
	return out
}

func (k *kind) aggregated() discovery.APIResourceDiscovery {
	gvk := &metav1.GroupVersionKind{Group: k.gvk.Group, Version: k.gvk.Version, Kind: k.gvk.Kind}
	r := discovery.APIResourceDiscovery{Resource: k.plural, ResponseKind: gvk, SingularResource: k.singular, Verbs: verbs, ShortNames: k.short, Scope: discovery.ScopeCluster}
	if k.namespaced {
		r.Scope = discovery.ScopeNamespace
	}
	if k.status {
		r.Subresources = []discovery.APISubresourceDiscovery{{Subresource: "status", ResponseKind: gvk, Verbs: []string{"get", "patch", "update"}}}
	}
	return r
}
