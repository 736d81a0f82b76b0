package kube_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"trueup.dev/trueup/internal/client/kube"
	"trueup.dev/trueup/internal/client/kube/kubefake"
	"trueup.dev/trueup/internal/driver"
)

func TestListsAreWholeOrAnError(t *testing.T) {
	s := kubefake.New(t)
	for i := range 7 {
		s.Set("me", fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c%d, namespace: default}", i))
	}
	s.Pages(2)
	c, ctx := open(t, s), context.Background()
	m := mapping(t, c, configMap)
	lists := map[string]func() (int, error){
		"list":     func() (int, error) { l, _, err := c.List(ctx, m, "", metav1.ListOptions{}); return len(l), err },
		"metadata": func() (int, error) { l, _, err := c.ListMeta(ctx, m, ""); return len(l), err },
	}
	second := func(r kubefake.Request) bool { return r.Verb == "list" && strings.Contains(r.Path, "continue=") }
	for name, list := range lists {
		if n, err := list(); n != 7 || err != nil {
			t.Errorf("%s: %d, %v", name, n, err)
		}
		s.DenyTimes(1, second, kubefake.Status(410, metav1.StatusReasonExpired, "too old"))
		if n, err := list(); n != 7 || err != nil {
			t.Errorf("%s, when the token expired: %d, %v", name, n, err)
		}
		for _, fault := range []error{kubefake.Status(500, "InternalError", "etcd"), kubefake.Status(504, "Timeout", "late"), kubefake.Status(403, "Forbidden", "no"), kubefake.Status(410, "Gone", "gone"), kubefake.Status(404, "NotFound", "what?")} {
			s.DenyTimes(1, second, fault)
			if n, err := list(); n != 0 || err == nil || errors.Is(err, kube.ErrNotFound) || errors.Is(err, kube.ErrUncertain) {
				t.Errorf("%s, second page %v: %d objects, %v", name, fault, n, err)
			}
		}
		for _, loss := range []kubefake.Loss{kubefake.ResetAnswer, kubefake.HalfAnswer} {
			undo := s.Lose(func(r kubefake.Request) kubefake.Loss {
				if second(r) {
					return loss
				}
				return kubefake.Kept
			})
			if n, err := list(); n != 0 || !errors.Is(err, driver.ErrUnreachable) {
				t.Errorf("%s, loss %d: %d objects, %v", name, loss, n, err)
			}
			undo()
		}
	}
}

func TestApplyTellsWhoOwnsWhat(t *testing.T) {
	s := kubefake.New(t)
	s.Set("kubectl-edit", settings)
	c, ctx := open(t, s), context.Background()
	m := mapping(t, c, configMap)
	blue := object(t, strings.Replace(settings, "red", "blue", 1))
	_, err := c.Apply(ctx, m, blue, kube.ApplyOptions{Manager: "trueup"})
	var conflict *kube.Conflict
	if !errors.As(err, &conflict) || len(conflict.Fields) != 1 || conflict.Fields[0].Field != ".data.color" || !strings.Contains(conflict.Fields[0].Manager, "kubectl-edit") {
		t.Fatalf("%v", err)
	}
	got, err := c.Apply(ctx, m, blue, kube.ApplyOptions{Manager: "trueup", Force: true, DryRun: true})
	if err != nil || got.GetName() != "settings" || s.Count(kubefake.DryRuns) != 1 {
		t.Errorf("%v, %v", got, err)
	}
	if d := s.Get("v1", "ConfigMap", "default", "settings").Object["data"].(map[string]any); d["color"] != "red" {
		t.Errorf("the dry run wrote %v", d)
	}
	if _, err := c.Create(ctx, m, blue, "trueup"); !errors.As(err, &conflict) || !apierrors.IsAlreadyExists(err) {
		t.Errorf("what is there can't be created: %v", err)
	}
}

func TestDeleteMeansOneObject(t *testing.T) {
	s := kubefake.New(t)
	s.Set("me", settings)
	c, ctx := open(t, s), context.Background()
	m := mapping(t, c, configMap)
	if err := c.Delete(ctx, m, "default", "settings", kube.DeleteOptions{UID: "another"}); !errors.Is(err, kube.ErrMoved) {
		t.Errorf("%v", err)
	}
	if err := c.Delete(ctx, m, "default", "settings", kube.DeleteOptions{ResourceVersion: "1"}); !errors.Is(err, kube.ErrMoved) {
		t.Errorf("%v", err)
	}
	uid := s.Get("v1", "ConfigMap", "default", "settings").GetUID()
	if err := c.Delete(ctx, m, "default", "settings", kube.DeleteOptions{UID: uid, DryRun: true}); err != nil || s.Get("v1", "ConfigMap", "default", "settings") == nil {
		t.Errorf("dry run: %v", err)
	}
	if err := c.Delete(ctx, m, "default", "settings", kube.DeleteOptions{UID: uid, Propagation: metav1.DeletePropagationForeground}); err != nil {
		t.Error(err)
	}
	if err := c.Delete(ctx, m, "default", "settings", kube.DeleteOptions{UID: uid}); !errors.Is(err, kube.ErrNotFound) {
		t.Errorf("twice: %v", err)
	}
	if _, err := c.Get(ctx, m, "default", "settings"); !errors.Is(err, kube.ErrNotFound) {
		t.Errorf("%v", err)
	}
}

func TestWatchesOutliveTheTimeOfARequest(t *testing.T) {
	s := kubefake.New(t)
	c, ctx := open(t, s, within(700*time.Millisecond)), context.Background()
	m := mapping(t, c, configMap)
	_, version, err := c.ListMeta(ctx, m, "")
	if err != nil {
		t.Fatal(err)
	}
	w, err := c.WatchMeta(ctx, m, "", version)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	s.Delay(func(r kubefake.Request) time.Duration {
		if r.Verb == "get" {
			return time.Hour
		}
		return 0
	})
	if _, err := c.Get(ctx, m, "default", "x"); !errors.Is(err, driver.ErrUnreachable) || !strings.Contains(err.Error(), "no answer within 700ms") {
		t.Errorf("a request without an end: %v", err)
	}
	s.Set("me", settings)
	if e, open := <-w.ResultChan(); !open || e.Type != "ADDED" {
		t.Errorf("the watch was cut: %+v", e)
	}
	s.CutWatches()
	for range w.ResultChan() {
	}
	s.Expire()
	w, err = c.WatchMeta(ctx, m, "", version)
	if err != nil {
		t.Fatal(err)
	}
	if e := <-w.ResultChan(); e.Type != "ERROR" || !apierrors.IsResourceExpired(apierrors.FromObject(e.Object)) {
		t.Errorf("%+v", e)
	}
}

func TestImpersonationSharesTheConnection(t *testing.T) {
	s := kubefake.New(t)
	c, ctx := open(t, s), context.Background()
	m := mapping(t, c, configMap)
	other, err := c.As(rest.ImpersonationConfig{UserName: "system:serviceaccount:shop:deployer", Groups: []string{"system:serviceaccounts"}})
	if err != nil {
		t.Fatal(err)
	}
	s.Deny(func(r kubefake.Request) error {
		if strings.HasPrefix(r.User, "system:serviceaccount:") && r.Namespace != "shop" && r.Verb != "discover" {
			return apierrors.NewForbidden(m.Resource.GroupResource(), r.Name, errors.New("User "+r.User+" may not"))
		}
		return nil
	})
	n := s.Count(discovered)
	if m, err := other.Mapping(ctx, configMap); err != nil || m.Resource.Resource != "configmaps" || s.Count(discovered) != n {
		t.Errorf("%v, %v", m, err)
	}
	if _, err := other.Patch(ctx, m, "default", "settings", types.MergePatchType, []byte("{}"), metav1.PatchOptions{}); !errors.Is(err, kube.ErrDenied) || errors.Is(err, driver.ErrUnreachable) {
		t.Errorf("%v", err)
	}
	if _, err := c.Get(ctx, m, "default", "settings"); !errors.Is(err, kube.ErrNotFound) {
		t.Errorf("%v", err)
	}
	last := s.Requests()
	if r := last[len(last)-2]; r.User != "system:serviceaccount:shop:deployer" || len(r.Groups) != 1 {
		t.Errorf("%+v", r)
	}
	if s.Connections() != 1 {
		t.Errorf("%d connections for two who act", s.Connections())
	}
}
