package rest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
)

// Put creates or changes an object.
func (s *set) Put(ctx context.Context, it, old item) error {
	t := s.connect.Types[it.Kind]
	if old.Value == nil {
		return s.send(ctx, t, "create", orDefault(t.Create, http.MethodPost, t.List.Path), &it, it.Value.doc)
	}
	target := it
	target.Value = &object{typ: it.Value.typ, doc: old.Value.doc, id: old.Value.id, etag: old.Value.etag}
	r := orDefault(t.Update, http.MethodPut, t.List.Path+"/{id}")
	var body any = it.Value.doc
	if r.Merge {
		body = overlay(old.Value.doc, it.Value.doc)
	}
	return s.send(ctx, t, "update", r, &target, body)
}

// Remove deletes an object; one that is gone is no error.
func (s *set) Remove(ctx context.Context, old item) error {
	t := s.connect.Types[old.Kind]
	if t == nil {
		return driver.Permanent(fmt.Errorf("the environment no longer declares the type %s", old.Kind))
	}
	err := s.send(ctx, t, "delete", orDefault(t.Delete, http.MethodDelete, t.List.Path+"/{id}"), &old, nil)
	var status *statusError
	if errors.As(err, &status) && (status.status == http.StatusNotFound || status.status == http.StatusGone) {
		return nil
	}
	return err
}

func orDefault(r *Request, method, path string) Request {
	if r == nil {
		return Request{Method: method, Path: path}
	}
	out := *r
	out.Method = cmp.Or(out.Method, method)
	return out
}

func (s *set) send(ctx context.Context, t *Type, what string, r Request, it *item, object any) error {
	n := s.names(it)
	path, err := n.path(r.Path)
	if err != nil {
		return driver.Permanent(fmt.Errorf("%s: path: %w", what, err))
	}
	body := object
	if r.Body != nil {
		if body, err = n.body(r.Body, object); err != nil {
			return driver.Permanent(fmt.Errorf("%s: body: %w", what, err))
		}
	}
	header := http.Header{}
	if t.ETag && it.Value.etag != "" {
		header.Set("If-Match", it.Value.etag)
	}
	_, err = s.client.call(ctx, r.Method, s.client.base+path, body, header)
	return err
}

// Impact counts an object as one.
func (s *set) Impact(action plan.Action, it, old item) []plan.Impact {
	im := plan.Impact{Class: cmp.Or(it.Class, old.Class)}
	switch action {
	case plan.Create:
		im.Create = 1
	case plan.Delete:
		im.Delete = 1
	case plan.Replace:
		im.Replace = 1
	default:
		im.Update = 1
	}
	return []plan.Impact{im}
}
