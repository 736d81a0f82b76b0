package kubernetes

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"

	"trueup.dev/trueup/internal/client/kube"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/plan"
)

// maxImported bounds one import.
const maxImported = 5000

// selection is what an import is to read.
type selection struct {
	namespaces []string // none: all but those of the system
	kinds      []string // none: all that lie in namespaces
	labels     string
}

// select reads the arguments of an import: namespace=shop,
// kind=Deployment.apps, labels=app=web.
func (s *session) selection(in driver.Input, what []string) (selection, error) {
	var sel selection
	var bad plan.Diagnostics
	for _, w := range what {
		key, value, _ := strings.Cut(w, "=")
		switch {
		case value == "":
			bad.Errorf(plan.Source{}, "", "write namespace=shop, kind=Deployment.apps or labels=app=web", "%q is not understood", w)
		case key == "namespace":
			sel.namespaces = append(sel.namespaces, value)
		case key == "kind":
			sel.kinds = append(sel.kinds, value)
		case key == "labels" && sel.labels == "":
			sel.labels = value
		case key == "labels":
			sel.labels += "," + value
		default:
			bad.Errorf(plan.Source{}, "", "write namespace=shop, kind=Deployment.apps or labels=app=web", "%q is not understood", w)
		}
	}
	if _, err := labels.Parse(sel.labels); err != nil {
		bad.Errorf(plan.Source{}, "", "write it as labels=app=web", "%v", err)
	}
	if spec, err := specOf(in); err == nil && len(sel.namespaces) == 0 && spec.Namespace != "" {
		sel.namespaces = []string{spec.Namespace}
	}
	if err := bad.Err(); err != nil {
		return sel, driver.Permanent(err)
	}
	return sel, nil
}

// Import writes live objects as manifests. Without arguments it takes all that
// lies in namespaces, but for those of the system, and the namespace of spec
// where one is set.
func (s *session) Import(ctx context.Context, in driver.Input, what []string) (driver.Imported, error) {
	out := driver.Imported{Files: map[string][]byte{}}
	sel, err := s.selection(in, what)
	if err != nil {
		return out, err
	}
	kinds, err := s.importable(ctx, sel)
	if err != nil {
		return out, err
	}
	secrets := 0
	for _, m := range kinds {
		found, err := s.importKind(ctx, sel, m)
		if err != nil {
			return out, err
		}
		for i := range found {
			u := &found[i]
			if !wantsImport(in, sel, u) {
				continue
			}
			if isSecret(u) {
				secrets++
				continue
			}
			if len(out.Files) == maxImported {
				return out, driver.Permanent(fmt.Errorf("there are more than %d objects: name namespaces, kinds or labels", maxImported))
			}
			if out.Files[fileOf(u)], err = yaml.Marshal(portable(u)); err != nil {
				return out, fmt.Errorf("%s: %w", manifest.RefOf(u), err)
			}
		}
	}
	if secrets > 0 {
		out.Warnings.Warnf(plan.Source{}, "", "encrypt them with SOPS, or have an operator make them", "%d Secrets are left out: a repository is no place for them in the clear", secrets)
	}
	return out, nil
}

// importable gives the kinds to read.
func (s *session) importable(ctx context.Context, sel selection) ([]kube.Mapping, error) {
	all, err := s.cluster.Kinds(ctx)
	if err != nil {
		return nil, err
	}
	var out []kube.Mapping
	seen := map[string]bool{}
	for _, m := range all {
		name := kindName(manifest.Ref{Group: m.Kind.Group, Kind: m.Kind.Kind})
		able := slices.Contains(m.Verbs, "list") && slices.Contains(m.Verbs, "patch")
		asked := slices.Contains(sel.kinds, name)
		seen[name] = able
		if able && (asked || len(sel.kinds) == 0 && m.Namespaced && !slices.Contains(madeBySystem, name)) {
			out = append(out, m)
		}
	}
	var bad plan.Diagnostics
	for _, k := range sel.kinds {
		if !seen[k] {
			bad.Errorf(plan.Source{}, "", "write it as Deployment.apps or ConfigMap", "the API server has no kind %q that can be imported", k)
		}
	}
	if err := bad.Err(); err != nil {
		return nil, driver.Permanent(err)
	}
	return out, nil
}

// madeBySystem are kinds whose objects come from other objects.
var madeBySystem = []string{"Event", "Event.events.k8s.io", "Endpoints", "EndpointSlice.discovery.k8s.io", "Lease.coordination.k8s.io",
	"ControllerRevision.apps", "PodMetrics.metrics.k8s.io", "ResourceClaim.resource.k8s.io", "CSIStorageCapacity.storage.k8s.io"}

func (s *session) importKind(ctx context.Context, sel selection, m kube.Mapping) ([]unstructured.Unstructured, error) {
	where := sel.namespaces
	if len(where) == 0 || !m.Namespaced {
		where = []string{""}
	}
	var out []unstructured.Unstructured
	for _, ns := range where {
		found, _, err := s.cluster.List(ctx, m, ns, metav1.ListOptions{LabelSelector: sel.labels})
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	return out, nil
}

// wantsImport leaves out what others make: controllers, and the cluster itself.
func wantsImport(in driver.Input, sel selection, u *unstructured.Unstructured) bool {
	ref := manifest.RefOf(u)
	if sc, ok := in.Scope.(*Scope); ok && !sc.Contains(plan.Key{Address: ref.Address()}, kindName(ref)) {
		return false
	}
	switch {
	case len(u.GetOwnerReferences()) > 0, u.GetDeletionTimestamp() != nil, u.GetLabels()["kubernetes.io/bootstrapping"] != "":
		return false
	case kindName(ref) == "Namespace" && len(sel.namespaces) > 0 && !slices.Contains(sel.namespaces, ref.Name):
		return false
	case len(sel.namespaces) == 0 && strings.HasPrefix(ref.Namespace, "kube-"):
		return false
	case kindName(ref) == "ConfigMap" && ref.Name == "kube-root-ca.crt", kindName(ref) == "ServiceAccount" && ref.Name == "default":
		return false
	case kindName(ref) == "Service" && ref.Namespace == "default" && ref.Name == "kubernetes":
		return false
	}
	return true
}

// fileOf names the file of an object.
func fileOf(u *unstructured.Unstructured) string {
	ref := manifest.RefOf(u)
	return path.Join(ref.Namespace, strings.ToLower(kindName(ref))+"-"+strings.ReplaceAll(ref.Name, ":", "_")+".yaml")
}
