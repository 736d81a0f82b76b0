package kubefake

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
)

// expiredToken is what the server says of a continue token that is too old. The
// token that comes with it reads on at another moment: not the same list.
const expiredToken = "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list."

func (s *Server) get(k *kind, r Request) (int, any, error) {
	u := s.store.find(k.group(), r.Namespace, r.Name)
	if u == nil {
		return 0, nil, apierrors.NewNotFound(k.group(), r.Name)
	}
	return http.StatusOK, k.show(u, r.Meta), nil
}

// show gives an object as it is answered: in the version that was asked for,
// or its metadata alone.
func (k *kind) show(u *unstructured.Unstructured, meta bool) map[string]any {
	out := make(map[string]any, len(u.Object))
	for f, v := range u.Object {
		out[f] = v
	}
	out["apiVersion"], out["kind"] = k.gvk.GroupVersion().String(), k.gvk.Kind
	if meta {
		return map[string]any{"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": u.Object["metadata"]}
	}
	return out
}

// selector tells which objects a list or a watch is about.
type selector struct {
	labels    labels.Selector
	fields    fields.Selector
	namespace string
}

func selectorOf(q url.Values, namespace string) (selector, error) {
	l, err := labels.Parse(q.Get("labelSelector"))
	if err != nil {
		return selector{}, apierrors.NewBadRequest(err.Error())
	}
	f, err := fields.ParseSelector(q.Get("fieldSelector"))
	if err != nil {
		return selector{}, apierrors.NewBadRequest(err.Error())
	}
	return selector{labels: l, fields: f, namespace: namespace}, nil
}

func (s selector) fits(u *unstructured.Unstructured) bool {
	if s.namespace != "" && u.GetNamespace() != s.namespace || !s.labels.Matches(labels.Set(u.GetLabels())) {
		return false
	}
	set := fields.Set{}
	for _, r := range s.fields.Requirements() {
		set[r.Field], _, _ = unstructured.NestedString(u.Object, strings.Split(r.Field, ".")...)
	}
	return s.fields.Matches(set)
}

func (s *Server) list(h *http.Request, k *kind, r Request) (int, any, error) {
	q := h.URL.Query()
	sel, err := selectorOf(q, r.Namespace)
	if err != nil {
		return 0, nil, err
	}
	p := &pages{version: s.store.version}
	if token := q.Get("continue"); token != "" {
		if p = s.store.pages[token]; p == nil {
			st := Status(http.StatusGone, metav1.StatusReasonExpired, expiredToken).(*apierrors.StatusError)
			st.ErrStatus.Continue = "inconsistent-" + token
			return 0, nil, st
		}
	} else {
		for _, u := range s.store.all(k.group(), r.Namespace) {
			if sel.fits(u) {
				p.rest = append(p.rest, u)
			}
		}
	}
	return http.StatusOK, s.page(q, k, r, p), nil
}

// page gives the next page of a list.
func (s *Server) page(q url.Values, k *kind, r Request, p *pages) any {
	limit, _ := strconv.Atoi(q.Get("limit"))
	if most := s.faults.page; most > 0 && limit > most {
		limit = most
	}
	meta := map[string]any{"resourceVersion": strconv.FormatInt(p.version, 10)}
	now, rest := p.rest, []*unstructured.Unstructured(nil)
	if limit > 0 && len(now) > limit {
		now, rest = now[:limit], now[limit:]
		token := fmt.Sprintf("%s-%d-%d", newUID(), p.version, len(rest))
		s.store.pages[token] = &pages{rest: rest, version: p.version}
		meta["continue"], meta["remainingItemCount"] = token, len(rest)
	}
	items := make([]any, len(now))
	for i, u := range now {
		items[i] = k.show(u, r.Meta)
	}
	if r.Meta {
		return map[string]any{"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList", "metadata": meta, "items": items}
	}
	return map[string]any{"apiVersion": k.gvk.GroupVersion().String(), "kind": k.gvk.Kind + "List", "metadata": meta, "items": items}
}
