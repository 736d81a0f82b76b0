package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	rcommon "helm.sh/helm/v4/pkg/release/common"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"trueup.dev/trueup/internal/client/kube"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/drivers/kubernetes/release"
	"trueup.dev/trueup/internal/drivers/kubernetes/render"
	"trueup.dev/trueup/internal/plan"
)

// releases are the Helm releases that a plan or an apply is about: the one that
// the target asks for, and those that it owns and does not ask for any more.
//
// A release is one object of a plan beside those that it holds. It is what Helm
// has written down; the objects are planned as any others, so that grants,
// claims, guards and the diff see each of them. Helm writes them all at once.
type releases struct {
	*set
	client *release.Client
	asked  *released
	old    []*released
}

// released is one release.
type released struct {
	*object
	r      *release.Release
	rec    *release.Records
	wanted *release.Wanted // nil where it is not asked for
	refs   map[manifest.Ref]bool
}

// releaseKind is how releases are called in plans.
const releaseKind = "Release.helm.sh"

func releaseRef(namespace, name string) manifest.Ref {
	return manifest.Ref{Group: "helm.sh", Kind: "Release", Namespace: namespace, Name: name}
}

func isRelease(ref manifest.Ref) bool { return ref.Group == "helm.sh" && ref.Kind == "Release" }

// clients are Helm's clients of a session, by the cluster as somebody sees it.
type clients struct {
	mu sync.Mutex
	by map[*kube.Cluster]*release.Client
}

func (c *clients) of(cl *kube.Cluster) *release.Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by == nil {
		c.by = map[*kube.Cluster]*release.Client{}
	}
	if c.by[cl] == nil {
		c.by[cl] = release.New(cl)
	}
	return c.by[cl]
}

// wants tells that the target asks for a release.
func (h *releases) wants() bool { return h != nil && h.asked != nil }

// releasesOf finds the releases that a set is about; nil where there are none.
func (s *set) releasesOf(ctx context.Context, p *prepared) (*releases, error) {
	h := &releases{set: s, client: s.clients.of(s.cluster)}
	if p != nil && p.release != nil {
		h.asked = h.released(p.release.Namespace, p.release.Name)
		h.asked.r.Render = s.renderRelease
		if o := s.spec.Helm; o != nil && o.Release != nil {
			h.asked.r.Options = *o.Release
		}
	}
	for k, o := range s.in.Inventory {
		ref, err := manifest.ParseAddress(k.Address)
		if err != nil {
			return nil, driver.Permanent(err)
		}
		if !isRelease(ref) || h.asked != nil && h.asked.ref == ref {
			continue
		}
		old := h.released(ref.Namespace, ref.Name)
		_ = json.Unmarshal(o.LastApplied, &old.r.Options) // nothing remembered means the defaults
		h.old = append(h.old, old)
	}
	if h.asked == nil && len(h.old) == 0 {
		return nil, nil
	}
	slices.SortFunc(h.old, func(a, b *released) int { return a.ref.Compare(b.ref) })
	return h, h.readRecords(ctx)
}

func (h *releases) released(namespace, name string) *released {
	ref := releaseRef(namespace, name)
	return &released{object: &object{ref: ref, mapping: kube.Mapping{Namespaced: true}}, r: &release.Release{Namespace: namespace, Name: name}}
}

func (h *releases) all() []*released {
	if h.asked == nil {
		return h.old
	}
	return append([]*released{h.asked}, h.old...)
}

func (h *releases) readRecords(ctx context.Context) (err error) {
	for _, x := range h.all() {
		if x.rec, err = h.client.Records(ctx, x.r); err != nil {
			return fmt.Errorf("%s: %w", x.ref, err)
		}
	}
	return nil
}

// there tells that Helm holds the release for installed, or half so.
func (x *released) there() bool {
	l := x.rec.Last
	return l != nil && (l.Info.Status != rcommon.StatusUninstalled || x.wanted == nil && !x.r.Options.KeepHistory)
}

// deploys tells that the release has to be installed or upgraded.
func (h *releases) deploys() bool { return h.wants() && !h.asked.wanted.Current }

// unknownYet is why a release can't be rendered yet.
type unknownYet []string

// Error gives the reasons.
func (u unknownYet) Error() string { return strings.Join(u, "; ") }

// resolve gives the objects of the release that is asked for.
func (h *releases) resolve(ctx context.Context) ([]manifest.Object, error) {
	caps, err := h.capabilities.of(ctx, h.cluster)
	if err != nil {
		return nil, err
	}
	w, err := h.client.Resolve(ctx, h.asked.r, h.asked.rec, caps)
	if err != nil {
		return nil, fmt.Errorf("release %s: %w", h.asked.r, err)
	}
	h.asked.wanted = w
	for i := range w.Objects {
		if a := w.Objects[i].GetAnnotations(); a["argocd.argoproj.io/hook"] != "" {
			return nil, driver.Permanent(fmt.Errorf("%s: %s is a hook of Argo CD's, which Helm would install as an ordinary object: make it one of Helm's (helm.sh/hook), or set helm.mode: manifests", w.Objects[i].Source, w.Objects[i].Ref()))
		}
	}
	return slices.Clone(w.Objects), nil
}

// renderRelease renders the chart with all that the environment gives.
func (s *set) renderRelease(ctx context.Context, caps render.Capabilities, at ...render.Moment) (*render.Result, error) {
	in := inputOf(s.in, s.spec)
	in.Decrypt, in.Fetch, in.RemoteBases = s.opener.decrypt, s.opener.fetch, s.connect.RemoteBases
	in.Capabilities = caps
	in.Release = &render.Seen{Moments: at, Now: s.in.Now}
	if s.connect.Helm.Lookup {
		in.Release.Lookup = s.helm.client.Lookup
	}
	res, err := render.Render(ctx, in)
	if err != nil {
		return nil, err
	}
	if err := res.Diagnostics.Err(); err != nil {
		return nil, driver.Permanent(err)
	}
	if len(res.Incomplete) > 0 {
		return nil, unknownYet(res.Incomplete)
	}
	return res, nil
}

// desire finds out what the release should be, and where its objects go.
func (h *releases) desire(ctx context.Context) error {
	objects, err := h.resolve(ctx)
	if why := waits(err); why != nil {
		h.incomplete = why
		return nil
	}
	if err != nil {
		return err
	}
	h.set.want[h.asked.ref] = h.asked.object
	if err := h.set.desire(ctx, objects); err != nil {
		return err
	}
	return h.sign()
}

// brings gives the definitions that come with a chart.
func (h *releases) brings() []manifest.Object {
	if !h.wants() || h.asked.wanted == nil {
		return nil
	}
	var out []manifest.Object
	for _, d := range h.asked.wanted.CRDs {
		out = append(out, d.Object)
	}
	return out
}

// records are what tells that somebody wrote another revision: the newest
// record, and the one that would come next.
func (h *releases) records(ctx context.Context) []*object {
	if !h.wants() {
		return nil
	}
	m, ns, names, err := h.client.RecordNames(ctx, h.asked.rec, h.asked.r)
	if err != nil {
		return []*object{{}} // then there is no fingerprint
	}
	var out []*object
	for _, n := range names {
		out = append(out, &object{ref: manifest.Ref{Kind: "Secret", Namespace: ns, Name: n}, mapping: m})
	}
	return out
}

// test runs the chart's tests where the target asks for that.
func (h *releases) test(ctx context.Context) error {
	if !h.wants() || !h.asked.r.Options.Test {
		return nil
	}
	logf := func(format string, args ...any) {
		if h.in.Log != nil {
			h.in.Log.Info(fmt.Sprintf(format, args...), "target", h.in.Target)
		}
	}
	return h.client.Test(ctx, h.asked.r, h.purpose == driver.Write, logf)
}

// holds tells that an object is one of the release's.
func (h *releases) holds(ref manifest.Ref) bool { return h.asked.refs[ref] }

// sign gives the release and its objects hashes that stay the same from one
// rendering to the next: what is made up anew each time does not count.
func (h *releases) sign() error {
	w := h.asked.wanted
	var sums []string
	h.asked.refs = map[manifest.Ref]bool{}
	for _, o := range h.order {
		ref := o.desired.Ref()
		if ref.Kind == "Namespace" && !w.Has(ref) {
			continue // the target's own
		}
		h.asked.refs[o.ref] = true
		steady, err := redacted(o.send.Object, w.Unsteady[ref])
		if err != nil {
			return fmt.Errorf("%s: %w", ref, err)
		}
		if len(w.Unsteady[ref]) > 0 || h.ignored.About(o.ref) {
			o.hash = h.hash("desired", []any{steady, h.spec.IgnoreDifferences})
		}
		sums = append(sums, o.hash)
	}
	slices.Sort(sums)
	var hooked []any
	for i := range w.Hooks {
		steady, err := redacted(w.Hooks[i].Unstructured.Object, w.Hooks[i].Unsteady)
		if err != nil {
			return err
		}
		hooked = append(hooked, steady)
	}
	h.asked.hash = h.hash("release", []any{w.Meta.Name, w.Meta.Version, w.Meta.AppVersion, w.Values, sums, hooked})
	h.asked.send = &unstructured.Unstructured{Object: map[string]any{"apiVersion": "helm.sh/v1", "kind": "Release"}}
	h.asked.desired = &manifest.Object{Source: chartFile(h.in, h.spec), Unknown: under("/values", w.Unknown), Sensitive: under("/values", w.Sensitive)}
	return nil
}

func under(field string, pointers []string) []string {
	out := make([]string, len(pointers))
	for i, p := range pointers {
		out[i] = field + p
	}
	return out
}

// chartFile is the file that asks for a release.
func chartFile(in driver.Input, spec *Spec) plan.Source {
	dir := in.Path
	if c := spec.Helm; c != nil && c.Source == nil {
		dir = path.Join(dir, c.Chart)
	}
	if strings.HasSuffix(dir, ".tgz") {
		return plan.Source{File: dir}
	}
	return plan.Source{File: path.Join(dir, "Chart.yaml")}
}

// redacted gives an object in which some places all read the same.
func redacted(doc map[string]any, pointers []string) (any, error) {
	if len(pointers) == 0 {
		return doc, nil
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	out, err := plan.Redact(raw, pointers)
	return json.RawMessage(out), err
}

// waits gives why a release can't be planned yet, nil where that is no reason.
func waits(err error) []string {
	var u unknownYet
	if errors.As(err, &u) {
		return u
	}
	return nil
}
