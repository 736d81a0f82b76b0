package health

import (
	"context"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
)

func TestParseCheck(t *testing.T) {
	for name, c := range map[string]struct {
		check map[string]any
		field string
		text  string
	}{
		"unknown":   {map[string]any{"ready": "all", "readyy": 1}, "readyy", ""},
		"nothing":   {map[string]any{"except": []any{"Job"}}, "ready", ""},
		"number":    {map[string]any{"ready": []any{1, map[string]any{}}}, "ready", ""},
		"bad glob":  {map[string]any{"ready": []any{"Job", "Deployment.apps/[/x"}}, "ready[1]", "no pattern"},
		"too deep":  {map[string]any{"ready": "a/b/c/d"}, "ready", "names no objects"},
		"no kind":   {map[string]any{"ready": "all", "except": "/x"}, "except", "names no objects"},
		"bad kind":  {map[string]any{"ready": "all", "expressions": []any{map[string]any{"kind": "A/b", "ready": "true"}}}, "expressions[0].kind", "no kind"},
		"not CEL":   {map[string]any{"ready": "all", "expressions": []any{map[string]any{"kind": "A", "ready": "object.spec =="}}}, "expressions[0].ready", "line 1, column 15: Syntax error"},
		"no bool":   {map[string]any{"ready": "all", "expressions": []any{map[string]any{"kind": "A", "ready": "true", "failed": "1+1"}}}, "expressions[0].failed", "gives int"},
		"no such":   {map[string]any{"ready": "all", "expressions": []any{map[string]any{"kind": "A", "ready": "true &&\n  thing.x"}}}, "expressions[0].ready", "line 2, column 3: undeclared reference to 'thing'"},
		"too long":  {map[string]any{"ready": "all", "expressions": []any{map[string]any{"kind": "A", "ready": strings.Repeat("!", 5000) + "true"}}}, "expressions[0].ready", "4096 bytes"},
		"undefined": {map[string]any{"ready": "all", "expressions": []any{map[string]any{"kind": "A"}}}, "expressions[0].ready", ""},
	} {
		_, diags := ParseCheck(c.check)
		if len(diags.Errors()) == 0 || !strings.HasPrefix(diags[0].Field, c.field) || !strings.Contains(diags.Error(), c.text) {
			t.Errorf("%s: %v", name, diags)
		}
	}
	if _, diags := ParseCheck(map[string]any{"ready": []any{"Deployment", "Certificate.cert-manager.io/*/web"}, "except": "Job"}); diags.Err() != nil {
		t.Error(diags)
	}
}

func TestPatterns(t *testing.T) {
	api := manifest.Ref{Group: "apps", Kind: "Deployment", Namespace: "shop", Name: "api"}
	role := manifest.Ref{Group: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: "reader"}
	for text, want := range map[string][2]bool{
		"Deployment": {true, false}, "Deployment.apps": {true, false}, "Deployment.batch": {false, false}, "*.apps": {true, false}, "*": {true, true},
		"Deployment.apps/shop/api": {true, false}, "Deployment/shop/a*": {true, false}, "*.apps/*/api": {true, false}, "Deployment.apps/web/api": {false, false},
		"ClusterRole/reader": {false, true}, "ClusterRole.*/r*": {false, true}, "*/reader": {false, true}, "*/*/*": {true, false}, "*/*": {false, true},
	} {
		p, err := parsePattern(text)
		if err != nil || p.matches(api) != want[0] || p.matches(role) != want[1] {
			t.Errorf("%s: %v %v, %v", text, p.matches(api), p.matches(role), err)
		}
	}
}

func TestRules(t *testing.T) {
	rules, diags := Compile([]Rule{
		{Kind: "Widget.example.com", Ready: "object.status.phase == 'Up' && status.size >= spec.size", Failed: "object.status.phase.startsWith('Broken')"},
		{Kind: "Gadget.*", Ready: "object.status.parts.all(p, p.ok)"},
		{Kind: "Slow.example.com", Ready: "object.l.all(a, object.l.all(b, object.l.all(c, object.l.all(d, a + b + c + d >= 0))))"},
		{Kind: "Odd.example.com", Ready: "object.spec.size"},
	}, "health")
	if diags.Err() != nil {
		t.Fatal(diags)
	}
	many := "l: [" + strings.Repeat("1,", 200) + "1]"
	for _, c := range []struct {
		text  string
		state State
		fails string
	}{
		{custom + "spec: {size: 2}\nstatus: {phase: Up, size: 2}", Ready, ""},
		{custom + "spec: {size: 2}\nstatus: {phase: Up, size: 1}", Waiting, ""},
		{custom + "spec: {size: 2}", Waiting, ""},
		{custom + "spec: {size: 2}\nstatus: {phase: BrokenBadly, conditions: [{type: Ready, message: a wheel is off}]}", Failed, ""},
		{"apiVersion: g.example.com/v1\nkind: Gadget\nstatus: {parts: [{ok: true}, {ok: false}]}", Waiting, ""},
		{"apiVersion: example.com/v1\nkind: Slow\n" + many, Ready, "cost limit"},
		{"apiVersion: example.com/v1\nkind: Odd\nspec: {size: 2}", Ready, "something else than true or false"},
	} {
		u := object(t, c.text)
		v, err := rules.find(manifest.RefOf(u)).assess(context.Background(), u)
		if c.fails == "" && (err != nil || v.State != c.state) || c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)) {
			t.Errorf("%s: %+v, %v", c.text, v, err)
		}
	}
	if rules.find(manifest.Ref{Kind: "Pod"}) != nil {
		t.Error("a rule holds for another kind")
	}
}
