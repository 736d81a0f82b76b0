package kube_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"trueup.dev/trueup/internal/client/kube"
	"trueup.dev/trueup/internal/client/kube/kubefake"
	"trueup.dev/trueup/internal/driver"
)

// meant lists which of the errors that say what to do an error is.
func meant(err error) string {
	var out []string
	for name, e := range map[string]error{"unreachable": driver.ErrUnreachable, "uncertain": kube.ErrUncertain, "denied": kube.ErrDenied, "notfound": kube.ErrNotFound, "moved": kube.ErrMoved} {
		if errors.Is(err, e) {
			out = append(out, name)
		}
	}
	var c *kube.Conflict
	if errors.As(err, &c) {
		out = append(out, "conflict")
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func TestWhatErrorsMean(t *testing.T) {
	s := kubefake.New(t)
	c, ctx := open(t, s), context.Background()
	m := mapping(t, c, configMap)
	for _, x := range []struct {
		name        string
		err         error
		read, write string
	}{
		{"401", apierrors.NewUnauthorized("no"), "denied unreachable", "denied unreachable"},
		{"403", apierrors.NewForbidden(m.Resource.GroupResource(), "settings", errors.New("no")), "denied", "denied"},
		{"403 of a webhook", kubefake.Refused("hook.example.com", "not like this"), "denied", "denied"},
		{"404", apierrors.NewNotFound(m.Resource.GroupResource(), "settings"), "notfound", "notfound"},
		{"404 of somebody else", kubefake.Status(404, "NotFound", "nothing here"), "unreachable", "unreachable"},
		{"409", apierrors.NewConflict(m.Resource.GroupResource(), "settings", errors.New("changed")), "conflict", "conflict"},
		{"410", apierrors.NewResourceExpired("too old"), "unreachable", "unreachable"},
		{"422", apierrors.NewInvalid(configMap.GroupKind(), "settings", nil), "", ""},
		{"429", apierrors.NewTooManyRequestsError("slow down"), "unreachable", "unreachable"},
		{"429, in an hour", apierrors.NewTooManyRequests("slow down", 3600), "unreachable", "unreachable"},
		{"500", apierrors.NewInternalError(errors.New("etcdserver: leader changed")), "", "uncertain"},
		{"500 of a webhook that is not there", apierrors.NewInternalError(errors.New(`failed calling webhook "x": connection refused`)), "", ""},
		{"502", kubefake.Status(502, "", "bad gateway"), "unreachable", "uncertain unreachable"},
		{"503", kubefake.Status(503, "ServiceUnavailable", "down"), "unreachable", "uncertain unreachable"},
		{"504", apierrors.NewTimeoutError("late", 1), "unreachable", "uncertain unreachable"},
		{"504, server timeout", apierrors.NewServerTimeout(m.Resource.GroupResource(), "patch", 1), "unreachable", "uncertain unreachable"},
	} {
		s.Forget()
		undo := s.Deny(func(r kubefake.Request) error {
			if r.Verb == "get" || r.Verb == "apply" {
				return x.err
			}
			return nil
		})
		_, err := c.Get(ctx, m, "default", "settings")
		if got := meant(err); err == nil || got != x.read {
			t.Errorf("%s, reading: %q, not %q: %v", x.name, got, x.read, err)
		}
		_, err = c.Apply(ctx, m, object(t, settings), kube.ApplyOptions{Manager: "trueup"})
		if got := meant(err); err == nil || got != x.write {
			t.Errorf("%s, writing: %q, not %q: %v", x.name, got, x.write, err)
		}
		_, err = c.Apply(ctx, m, object(t, settings), kube.ApplyOptions{Manager: "trueup", DryRun: true})
		if got := meant(err); err == nil || got != x.read {
			t.Errorf("%s, in a dry run: %q, not %q: %v", x.name, got, x.read, err)
		}
		undo()
		if n := s.Count(kubefake.On("configmaps")); n != 3 {
			t.Errorf("%s: %d requests instead of 3: only the queue tries again", x.name, n)
		}
	}
}

func TestALostAnswerLeavesAWriteUncertain(t *testing.T) {
	s := kubefake.New(t)
	c, ctx := open(t, s, within(700*time.Millisecond)), context.Background()
	m := mapping(t, c, configMap)
	apply := func(ctx context.Context) error {
		_, err := c.Apply(ctx, m, object(t, settings), kube.ApplyOptions{Manager: "trueup"})
		return err
	}
	for _, loss := range []kubefake.Loss{kubefake.LostRequest, kubefake.LostAnswer, kubefake.ResetAnswer, kubefake.HalfAnswer} {
		s.Forget()
		undo := s.Lose(func(r kubefake.Request) kubefake.Loss {
			if r.Verb == "apply" || r.Verb == "delete" {
				return loss
			}
			return kubefake.Kept
		})
		if err := apply(ctx); meant(err) != "uncertain unreachable" {
			t.Errorf("loss %d: %v", loss, err)
		}
		if err := c.Delete(ctx, m, "default", "other", kube.DeleteOptions{}); meant(err) != "uncertain unreachable" && meant(err) != "notfound" {
			t.Errorf("loss %d of a deletion: %v", loss, err)
		}
		if n := s.Count(kubefake.Writes); n != 2 {
			t.Errorf("loss %d: %d writes were sent instead of 2", loss, n)
		}
		undo()
	}
	late := s.Delay(func(kubefake.Request) time.Duration { return time.Hour })
	if err := apply(ctx); meant(err) != "uncertain unreachable" || !strings.Contains(err.Error(), "no answer within 700ms") {
		t.Errorf("no answer: %v", err)
	}
	late()
	cancelled, cancel := context.WithCancel(ctx)
	s.Deny(func(r kubefake.Request) error {
		if r.Verb == "apply" {
			cancel()
			<-cancelled.Done()
			time.Sleep(20 * time.Millisecond)
		}
		return nil
	})
	if err := apply(cancelled); meant(err) != "uncertain" || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled while it was under way: %v", err)
	}
	if err := apply(cancelled); meant(err) != "" || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled before: %v", err)
	}
	s.Close()
	_ = apply(ctx) // finds the connection closed, maybe while it sends
	if err := apply(ctx); meant(err) != "unreachable" || strings.Contains(err.Error(), "no answer within") {
		t.Errorf("nobody there: %v", err)
	}
	if _, err := c.Apply(ctx, m, &unstructured.Unstructured{Object: map[string]any{}}, kube.ApplyOptions{}); err == nil || meant(err) != "" {
		t.Errorf("what can't be sent: %v", err)
	}
}

func TestABusyServerIsWaitedForAsLongAsARequestLasts(t *testing.T) {
	s := kubefake.New(t)
	c, ctx := open(t, s, within(1600*time.Millisecond)), context.Background()
	m := mapping(t, c, configMap)
	busy := apierrors.NewTooManyRequests("slow down", 1)
	s.DenyTimes(1, kubefake.On("configmaps", "apply"), busy)
	if _, err := c.Apply(ctx, m, object(t, settings), kube.ApplyOptions{Manager: "trueup"}); err != nil || s.Count(kubefake.Writes) != 2 {
		t.Errorf("%v after %d requests", err, s.Count(kubefake.Writes))
	}
	if got := s.Get("v1", "ConfigMap", "default", "settings"); got == nil || len(got.GetManagedFields()) != 1 {
		t.Errorf("the body did not come along the second time: %v", got)
	}
	s.Forget()
	s.DenyTimes(100, kubefake.On("configmaps"), busy)
	if _, err := c.Get(ctx, m, "default", "settings"); meant(err) != "unreachable" || !strings.Contains(err.Error(), "busy") {
		t.Errorf("%v", err)
	}
	if n := s.Count(kubefake.On("configmaps")); n > 2 {
		t.Errorf("it was asked %d times in 1.6 seconds, each a second after the one before", n)
	}
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if _, err := c.Apply(short, m, object(t, settings), kube.ApplyOptions{Manager: "trueup"}); meant(err) != "unreachable" {
		t.Errorf("while it waits nothing was done: %v", err)
	}
}

func TestErrorsAboutSecretsDontQuoteThem(t *testing.T) {
	const canary = "c4nary-s3cret"
	s := kubefake.New(t)
	c, ctx := open(t, s), context.Background()
	secret, plain := mapping(t, c, secretOf), mapping(t, c, configMap)
	u := object(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: a, namespace: default}\ndata: {key: {"+canary+": 1}}")
	apply := func() error {
		_, err := c.Apply(ctx, secret, u, kube.ApplyOptions{Manager: "trueup", DryRun: true})
		return err
	}
	invalid := field.ErrorList{field.Invalid(field.NewPath("data").Key("key"), canary, "must be less than "+canary)}
	for name, x := range map[string]struct {
		err  error
		want string
	}{
		"no type":   {nil, "500"},
		"invalid":   {apierrors.NewInvalid(secretOf.GroupKind(), "a", invalid), "data[key]: FieldValueInvalid"},
		"dry run":   {kubefake.NoDryRun("hook.example.com"), `admission webhook "hook.example.com" does not support dry run`},
		"webhook":   {apierrors.NewInternalError(errors.New(`failed calling webhook "hook.example.com": ` + canary)), `failed calling webhook "hook.example.com"`},
		"forbidden": {kubefake.Refused("hook.example.com", canary), "403 Forbidden"},
	} {
		undo := s.Deny(func(r kubefake.Request) error {
			if r.Verb == "apply" {
				return x.err
			}
			return nil
		})
		err := apply()
		var status apierrors.APIStatus
		if !errors.As(err, &status) || strings.Contains(fmt.Sprintf("%v %+v", err, status.Status()), canary) || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v", name, err)
		}
		undo()
	}
	s.Deny(func(r kubefake.Request) error {
		if r.Verb == "apply" {
			return kubefake.Refused("hook.example.com", "bad value "+canary)
		}
		return nil
	})
	_, err := c.Apply(ctx, plain, object(t, settings), kube.ApplyOptions{Manager: "trueup", Quiet: true})
	if meant(err) != "denied" || strings.Contains(err.Error(), canary) {
		t.Errorf("%v", err)
	}
	_, err = c.Apply(ctx, plain, object(t, settings), kube.ApplyOptions{Manager: "trueup"})
	if meant(err) != "denied" || !strings.Contains(err.Error(), canary) {
		t.Errorf("of what is no secret the reason shows: %v", err)
	}
}

func TestWarningsGoToWhoAsked(t *testing.T) {
	s := kubefake.New(t)
	c, ctx := open(t, s), context.Background()
	m := mapping(t, c, configMap)
	s.Warn(func(r kubefake.Request) string {
		if r.Verb == "apply" {
			return "v1 ConfigMap is deprecated, " + r.Name
		}
		return ""
	})
	var one, two kube.Warnings
	for _, w := range []*kube.Warnings{&one, &one, &two} {
		if _, err := c.Apply(w.In(ctx), m, object(t, settings), kube.ApplyOptions{Manager: "trueup"}); err != nil {
			t.Fatal(err)
		}
	}
	if got := one.List(); len(got) != 1 || got[0] != "v1 ConfigMap is deprecated, settings" || len(two.List()) != 1 {
		t.Errorf("%q, %q", got, two.List())
	}
}
