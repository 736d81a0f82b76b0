package kubefake

import (
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
)

// kind is one kind in one version.
type kind struct {
	gvk        schema.GroupVersionKind
	plural     string
	singular   string
	short      []string
	namespaced bool
	status     bool // has the status subresource
	generation bool // counts changes of what is desired
	typed      managedfields.TypeConverter
	custom     bool
	crd        string // the definition that it is of
}

func (k *kind) group() schema.GroupResource {
	return schema.GroupResource{Group: k.gvk.Group, Resource: k.plural}
}

func (k *kind) has(sub string) bool {
	return sub == "status" && k.status || sub == "finalize" && k.plural == "namespaces"
}

// kinds are all that are served, the preferred version of a group first.
type kinds struct{ list []*kind }

func (k *kinds) byResource(r schema.GroupVersionResource) *kind {
	for _, x := range k.list {
		if x.plural == r.Resource && x.gvk.Group == r.Group && x.gvk.Version == r.Version {
			return x
		}
	}
	return nil
}

func (k *kinds) byKind(gvk schema.GroupVersionKind) *kind {
	for _, x := range k.list {
		if x.gvk == gvk {
			return x
		}
	}
	return nil
}

// builtinKinds lists: group/version, resource, kind, short name, and of
// n(amespaced), s(tatus), g(eneration).
const builtinKinds = `
v1 namespaces Namespace ns s
v1 configmaps ConfigMap cm n
v1 secrets Secret - n
v1 services Service svc ns
v1 serviceaccounts ServiceAccount sa n
v1 pods Pod po nsg
v1 events Event ev n
v1 endpoints Endpoints ep n
v1 persistentvolumeclaims PersistentVolumeClaim pvc ns
v1 persistentvolumes PersistentVolume pv s
v1 nodes Node no s
v1 limitranges LimitRange limits n
v1 resourcequotas ResourceQuota quota ns
v1 replicationcontrollers ReplicationController rc nsg
apps/v1 deployments Deployment deploy nsg
apps/v1 statefulsets StatefulSet sts nsg
apps/v1 daemonsets DaemonSet ds nsg
apps/v1 replicasets ReplicaSet rs nsg
batch/v1 jobs Job - nsg
batch/v1 cronjobs CronJob cj nsg
autoscaling/v2 horizontalpodautoscalers HorizontalPodAutoscaler hpa ns
autoscaling/v1 horizontalpodautoscalers HorizontalPodAutoscaler hpa ns
networking.k8s.io/v1 ingresses Ingress ing nsg
networking.k8s.io/v1 ingressclasses IngressClass - g
networking.k8s.io/v1 networkpolicies NetworkPolicy netpol ng
policy/v1 poddisruptionbudgets PodDisruptionBudget pdb nsg
rbac.authorization.k8s.io/v1 roles Role - n
rbac.authorization.k8s.io/v1 rolebindings RoleBinding - n
rbac.authorization.k8s.io/v1 clusterroles ClusterRole - -
rbac.authorization.k8s.io/v1 clusterrolebindings ClusterRoleBinding - -
storage.k8s.io/v1 storageclasses StorageClass sc -
scheduling.k8s.io/v1 priorityclasses PriorityClass pc g
coordination.k8s.io/v1 leases Lease - n
events.k8s.io/v1 events Event ev n
discovery.k8s.io/v1 endpointslices EndpointSlice - ng
admissionregistration.k8s.io/v1 validatingwebhookconfigurations ValidatingWebhookConfiguration - g
admissionregistration.k8s.io/v1 mutatingwebhookconfigurations MutatingWebhookConfiguration - g
apiextensions.k8s.io/v1 customresourcedefinitions CustomResourceDefinition crd sg
`

func builtin() *kinds {
	out := &kinds{}
	for line := range strings.Lines(strings.TrimSpace(builtinKinds)) {
		f := strings.Fields(line)
		gv, _ := schema.ParseGroupVersion(f[0])
		k := &kind{gvk: gv.WithKind(f[2]), plural: f[1], singular: strings.ToLower(f[2]), typed: schemas}
		if f[3] != "-" {
			k.short = []string{f[3]}
		}
		k.namespaced, k.status, k.generation = strings.Contains(f[4], "n"), strings.Contains(f[4], "s"), strings.Contains(f[4], "g")
		if gv.Group == "apiextensions.k8s.io" {
			k.typed = managedfields.NewDeducedTypeConverter()
		}
		out.list = append(out.list, k)
	}
	return out
}

// verbs of every kind.
var verbs = metav1.Verbs{"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}

// established tells whether a definition's kinds are to be served.
func established(crd *unstructured.Unstructured) bool {
	list, _, _ := unstructured.NestedSlice(crd.Object, "status", "conditions")
	for _, c := range list {
		if m, ok := c.(map[string]any); ok && m["type"] == "Established" {
			return m["status"] == "True"
		}
	}
	return false
}

// define serves the kinds of a custom resource definition.
func (k *kinds) define(crd *unstructured.Unstructured) {
	k.undefine(crd.GetName())
	at := func(path ...string) string {
		s, _, _ := unstructured.NestedString(crd.Object, path...)
		return s
	}
	short, _, _ := unstructured.NestedStringSlice(crd.Object, "spec", "names", "shortNames")
	versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
	for _, one := range versions {
		v, _ := one.(map[string]any)
		if served, _ := v["served"].(bool); !served {
			continue
		}
		name, _ := v["name"].(string)
		_, status, _ := unstructured.NestedMap(v, "subresources", "status")
		x := &kind{plural: at("spec", "names", "plural"), singular: at("spec", "names", "singular"), short: short,
			namespaced: at("spec", "scope") == "Namespaced", status: status, generation: true, custom: true, crd: crd.GetName()}
		x.gvk = schema.GroupVersionKind{Group: at("spec", "group"), Version: name, Kind: at("spec", "names", "kind")}
		x.typed = customSchema(x.gvk, v)
		k.list = append(k.list, x)
	}
}

func (k *kinds) undefine(crd string) {
	k.list = slices.DeleteFunc(slices.Clone(k.list), func(x *kind) bool { return x.crd == crd })
}

// groupVersions gives the groups in order of appearance with their versions.
func (k *kinds) groupVersions() (groups []string, versions map[string][]string) {
	versions = map[string][]string{}
	for _, x := range k.list {
		g, v := x.gvk.Group, x.gvk.Version
		if !slices.Contains(groups, g) {
			groups = append(groups, g)
		}
		if !slices.Contains(versions[g], v) {
			versions[g] = append(versions[g], v)
		}
	}
	return groups, versions
}
