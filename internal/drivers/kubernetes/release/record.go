package release

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	rcommon "helm.sh/helm/v4/pkg/release/common"
	helm "helm.sh/helm/v4/pkg/release/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"trueup.dev/trueup/internal/client/kube"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
)

// recordPrefix begins the names of the Secrets in which Helm keeps revisions.
const recordPrefix = "sh.helm.release.v1."

// revisionLabel is on the records that trueup makes, with the revision's
// number: Helm copies labels from one revision to the next, so that the mere
// label would tell nothing.
const revisionLabel = "trueup.dev/revision"

// maxRecord bounds what one record may grow to.
const maxRecord = 64 << 20

var (
	secretKind = schema.GroupVersionKind{Version: "v1", Kind: "Secret"}
	// errBroken is a record that can't be read. It is never taken for none.
	errBroken = errors.New("the record can't be read")
)

// Records are the revisions of one release, as far as they matter.
type Records struct {
	// Last is the newest revision; nil when Helm knows none.
	Last *helm.Release
	// Deployed is the newest one that is deployed; nil when there is none.
	Deployed *helm.Release
	// Ours tells that trueup made the newest revision.
	Ours bool
	// ID changes with every write to any of the records.
	ID string
}

// Records reads what Helm has written down of a release. They are read whole
// or it is an error.
func (c *Client) Records(ctx context.Context, r *Release) (*Records, error) {
	m, err := c.cluster.Mapping(ctx, secretKind)
	if err != nil {
		return nil, err
	}
	list, _, err := c.cluster.ListMetaBy(ctx, m, r.storage(), metav1.ListOptions{LabelSelector: "owner=helm,name=" + r.Name})
	if err != nil {
		return nil, fmt.Errorf("revisions of release %s: %w", r, err)
	}
	out := &Records{}
	last, deployed := newest(list, ""), newest(list, rcommon.StatusDeployed)
	for i := range list {
		out.ID += list[i].Name + "=" + string(list[i].UID) + "/" + list[i].ResourceVersion + ";"
	}
	if last == nil {
		return out, nil
	}
	if out.Last, err = c.record(ctx, m, last); err != nil {
		return nil, err
	}
	out.Ours = last.Labels[revisionLabel] == strconv.Itoa(out.Last.Version)
	switch {
	case deployed == nil:
	case deployed.Name == last.Name:
		out.Deployed = out.Last
	default:
		out.Deployed, err = c.record(ctx, m, deployed)
	}
	return out, err
}

// newest finds the record of the highest revision, of a status or ("") of any.
func newest(list []metav1.PartialObjectMetadata, status rcommon.Status) *metav1.PartialObjectMetadata {
	var best *metav1.PartialObjectMetadata
	highest := 0
	for i := range list {
		o := &list[i]
		n, err := strconv.Atoi(o.Labels["version"])
		if err != nil || n <= highest || status != "" && o.Labels["status"] != string(status) {
			continue
		}
		best, highest = o, n
	}
	return best
}

func (c *Client) record(ctx context.Context, m kube.Mapping, o *metav1.PartialObjectMetadata) (*helm.Release, error) {
	u, err := c.cluster.Get(ctx, m, o.Namespace, o.Name)
	if errors.Is(err, kube.ErrNotFound) || err == nil && u.GetResourceVersion() != o.ResourceVersion {
		return nil, fmt.Errorf("the Secret %s/%s: somebody is at work on this release: %w", o.Namespace, o.Name, driver.ErrStale)
	}
	if err != nil {
		return nil, err
	}
	var s corev1.Secret
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &s); err != nil {
		return nil, fmt.Errorf("the Secret %s/%s: %w", o.Namespace, o.Name, errBroken)
	}
	r, err := decodeRecord(s.Data["release"])
	if err != nil {
		return nil, fmt.Errorf("the Secret %s/%s: %w", o.Namespace, o.Name, err)
	}
	r.Labels = map[string]string{}
	for k, v := range s.Labels {
		r.Labels[k] = v
	}
	return r, nil
}

// decodeRecord reads a revision as Helm writes it: JSON, packed, in base64.
// What is wrong with it is not told in detail: it holds secrets.
func decodeRecord(data []byte) (*helm.Release, error) {
	raw := make([]byte, base64.StdEncoding.DecodedLen(len(data)))
	n, err := base64.StdEncoding.Decode(raw, data)
	if err != nil {
		return nil, errBroken
	}
	raw = raw[:n]
	if bytes.HasPrefix(raw, []byte{0x1f, 0x8b, 0x08}) {
		z, err := gzip.NewReader(bytes.NewReader(raw))
		if err != nil {
			return nil, errBroken
		}
		if raw, err = io.ReadAll(io.LimitReader(z, maxRecord+1)); err != nil || len(raw) > maxRecord {
			return nil, errBroken
		}
	}
	var r helm.Release
	if err := json.Unmarshal(raw, &r); err != nil || r.Info == nil || r.Version <= 0 {
		return nil, errBroken
	}
	return &r, nil
}

// RecordNames are those of the newest record and of the one that would come
// next, with the namespace and the kind that they are of.
func (c *Client) RecordNames(ctx context.Context, rec *Records, r *Release) (m kube.Mapping, namespace string, names []string, err error) {
	if m, err = c.cluster.Mapping(ctx, secretKind); err != nil {
		return m, "", nil, err
	}
	if rec.Last != nil {
		names = append(names, fmt.Sprintf("%s%s.v%d", recordPrefix, r.Name, rec.Last.Version))
	}
	return m, r.storage(), append(names, fmt.Sprintf("%s%s.v%d", recordPrefix, r.Name, next(rec))), nil
}

// Busy tells that an action on a revision has not come to its end.
func Busy(l *helm.Release) bool { return unfinished(l) }

// Holds lists the objects that the recorded revisions hold, those of the newest
// and of the deployed one.
func (c *Client) Holds(ctx context.Context, rec *Records, r *Release) ([]manifest.Ref, error) {
	var out []manifest.Ref
	for _, l := range []*helm.Release{rec.Last, rec.Deployed} {
		if l == nil || l.Info.Status == rcommon.StatusUninstalled {
			continue
		}
		list, err := objects(documents(l.Manifest), r)
		if err != nil {
			return nil, fmt.Errorf("manifest of revision %d: %w", l.Version, err)
		}
		for i := range list {
			ref, err := c.placed(ctx, &list[i], r)
			if err != nil {
				return nil, err
			}
			if !slices.Contains(out, ref) {
				out = append(out, ref)
			}
		}
	}
	return out, nil
}

// placed gives the reference of an object where it lies. What is of a kind that
// is not served any more lies nowhere.
func (c *Client) placed(ctx context.Context, o *manifest.Object, r *Release) (manifest.Ref, error) {
	ref := o.Ref()
	m, err := c.cluster.Mapping(ctx, o.GroupVersionKind())
	if errors.Is(err, kube.ErrNoKind) {
		m, err = c.cluster.Preferred(ctx, ref.GroupKind())
	}
	switch {
	case errors.Is(err, kube.ErrNoKind):
		return ref, nil
	case err != nil:
		return ref, err
	case !m.Namespaced:
		ref.Namespace = ""
	case ref.Namespace == "":
		ref.Namespace = r.Namespace
	}
	return ref, nil
}
