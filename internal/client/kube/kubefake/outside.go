package kubefake

import (
	"encoding/json"
	"io"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// Set creates objects, or replaces them, as a person with some tool does: a
// field manager by the operation Update. The text is YAML, of one or more
// documents. Faults, admission and the count of requests are left out.
func (s *Server) Set(manager, text string) {
	s.t.Helper()
	d := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096)
	for {
		u := &unstructured.Unstructured{}
		err := d.Decode(&u.Object)
		if err == io.EOF {
			return
		}
		if err != nil {
			s.t.Fatalf("kubefake: %v in\n%s", err, text)
		}
		if u.Object == nil {
			continue
		}
		s.set(manager, u)
	}
}

func (s *Server) set(manager string, u *unstructured.Unstructured) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.kinds.byKind(u.GroupVersionKind())
	if k == nil {
		s.t.Fatalf("kubefake: there is no kind %s", u.GroupVersionKind())
		return
	}
	raw, err := json.Marshal(u.Object)
	if err != nil {
		s.t.Fatalf("kubefake: %v", err)
	}
	r := Request{Verb: "create", Manager: manager, Namespace: u.GetNamespace(), Body: raw}
	old := s.store.find(k.group(), u.GetNamespace(), u.GetName())
	if old != nil {
		r.Verb, r.Name = "update", u.GetName()
	}
	undo := s.faults.admit
	s.faults.admit = hooks[Review]{}
	defer func() { s.faults.admit = undo }()
	next, err := k.decode(r)
	if err == nil {
		_, err = s.write(k, r, old, next)
	}
	if err != nil {
		s.t.Fatalf("kubefake: set %s %s/%s: %v", u.GetKind(), u.GetNamespace(), u.GetName(), err)
	}
}

// Edit changes an object as a field manager does by the operation Update;
// with "status" as the subresource what it says of itself.
func (s *Server) Edit(manager, apiVersion, kindName, namespace, name, subresource string, f func(u *unstructured.Unstructured)) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	k, u := s.find(apiVersion, kindName, namespace, name)
	if u == nil {
		s.t.Fatalf("kubefake: there is no %s %s/%s to edit", kindName, namespace, name)
		return
	}
	next := u.DeepCopy()
	f(next)
	undo := s.faults.admit
	s.faults.admit = hooks[Review]{}
	defer func() { s.faults.admit = undo }()
	if _, err := s.write(k, Request{Verb: "update", Manager: manager, Subresource: subresource}, u, next); err != nil {
		s.t.Fatalf("kubefake: edit %s %s/%s: %v", kindName, namespace, name, err)
	}
}

// Unset removes an object at once, whatever its finalizers, and what it holds.
func (s *Server) Unset(apiVersion, kindName, namespace, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, u := s.find(apiVersion, kindName, namespace, name)
	if u == nil {
		return
	}
	if k.group() == namespaceGroup || k.group() == crdGroup {
		s.end(k.group(), u, nil)
	} else {
		s.store.drop(k.group(), u)
	}
	s.sweep()
}

// Get gives an object, nil if it is not there.
func (s *Server) Get(apiVersion, kindName, namespace, name string) *unstructured.Unstructured {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, u := s.find(apiVersion, kindName, namespace, name)
	if u == nil {
		return nil
	}
	return (&unstructured.Unstructured{Object: k.show(u, false)}).DeepCopy()
}

// List gives all objects of a kind, in one namespace or ("") in all, by
// namespace and name.
func (s *Server) List(apiVersion, kindName, namespace string) []unstructured.Unstructured {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, _ := s.find(apiVersion, kindName, "", "")
	if k == nil {
		return nil
	}
	var out []unstructured.Unstructured
	for _, u := range s.store.all(k.group(), namespace) {
		out = append(out, *(&unstructured.Unstructured{Object: k.show(u, false)}).DeepCopy())
	}
	return out
}

func (s *Server) find(apiVersion, kindName, namespace, name string) (*kind, *unstructured.Unstructured) {
	gv, err := schema.ParseGroupVersion(apiVersion)
	if err != nil {
		return nil, nil
	}
	k := s.kinds.byKind(gv.WithKind(kindName))
	if k == nil {
		return nil, nil
	}
	return k, s.store.find(k.group(), namespace, name)
}
