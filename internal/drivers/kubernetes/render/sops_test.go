package render_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"trueup.dev/trueup/internal/client/sops"
	"trueup.dev/trueup/internal/drivers/kubernetes/render"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/servertest/sopsfile"
)

// sealer encrypts files, and gives what opens them.
func sealer(t *testing.T) (func(name, text string) string, func(context.Context, string, []byte) ([]byte, error)) {
	id, key := sopsfile.Identity(t)
	seal := func(name, text string) string {
		if strings.HasPrefix(text, "apiVersion") {
			return string(sopsfile.Partly(t, name, text, "^(data|stringData)$", key))
		}
		return string(sopsfile.Encrypted(t, name, text, key))
	}
	return seal, func(ctx context.Context, name string, data []byte) ([]byte, error) {
		return sops.Decrypt(ctx, name, data, sops.Keys{Age: []secret.Value{secret.New(id.String())}})
	}
}

// pointers gives the marks of each object.
func pointers(res *render.Result, of func(i int) []string) map[string]string {
	out := map[string]string{}
	for i := range res.Objects {
		out[res.Objects[i].GetName()] = strings.Join(of(i), " ")
	}
	return out
}

func sensitive(res *render.Result) map[string]string {
	return pointers(res, func(i int) []string { return res.Objects[i].Sensitive })
}

func unknown(res *render.Result) map[string]string {
	return pointers(res, func(i int) []string { return res.Objects[i].Unknown })
}

const longSecret = "correct-horse-battery"

const sealedText = "apiVersion: example.com/v1\nkind: Thing\nmetadata:\n    name: c\ndata:\n    password: " + longSecret + "\n    text: |\n        line one of a key\n        line two of a key\n    pin: \"12\"\n    \"on\": \"true\"\n    n: 7\n    ok: true\nmore: plain\n---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n    name: second\n"

func TestSOPSInPlainFiles(t *testing.T) {
	seal, open := sealer(t)
	files := map[string]string{
		"k/a.yaml": seal("a.yaml", sealedText),
		"k/b.yaml": configMap("b") + "data: {url: 'https://u:" + longSecret + "@h', b64: " + base64.StdEncoding.EncodeToString([]byte("x:"+longSecret+"!")) + ", other: '7', yes: 'true', words: 'pin is 12.', part: '112', key: 'a line two of a key b'}\n",
	}
	in := render.Input{Path: "k", Decrypt: open, Tree: tree(files)}
	res, got := rendered(t, in)
	clean(t, res)
	want(t, got, "Thing.example.com/c k/a.yaml:1", "ConfigMap/second "+lineOf(t, files["k/a.yaml"], "k/a.yaml", "name: second", -3), "ConfigMap/b k/b.yaml:1")
	s := sensitive(res)
	if s["c"] != "/data/n /data/ok /data/on /data/password /data/pin /data/text" {
		t.Error(s["c"])
	}
	if s["b"] != "/data/b64 /data/key /data/other /data/url /data/words" {
		t.Error(s["b"])
	}

	in.Decrypt = nil
	res, got = rendered(t, in)
	if len(got) != 3 || len(res.Diagnostics) > 0 {
		t.Error(got, res.Diagnostics)
	}
	want(t, res.Incomplete, "k/a.yaml is encrypted and there is no key here to open it")
	if u := unknown(res); u["c"] != "/data/n /data/ok /data/on /data/password /data/pin /data/text" || u["b"] != "" {
		t.Error(u)
	}
	if strings.Contains(asJSON(t, res.Objects[0].Object), "sops") {
		t.Error("the metadata of SOPS is part of the object")
	}

	in.Decrypt = func(context.Context, string, []byte) ([]byte, error) { return nil, errors.New("no key fits") }
	res, _ = rendered(t, in)
	want(t, messages(res.Diagnostics), "k/a.yaml: it can't be decrypted: no key fits (encrypt it for a key that connect.sops of the environment has)")
}

// lineOf gives the place of a text in a file, some lines further.
func lineOf(t *testing.T, body, file, text string, by int) string {
	t.Helper()
	for i, l := range strings.Split(body, "\n") {
		if strings.Contains(l, text) {
			return fmt.Sprintf("%s:%d", file, i+1+by)
		}
	}
	t.Fatalf("%s has no %q", file, text)
	return ""
}

func TestSOPSInCharts(t *testing.T) {
	seal, open := sealer(t)
	files := merged(shop(), map[string]string{
		"shop/secrets.yaml":     seal("secrets.yaml", "db: {data: "+longSecret+", port: 5432, debug: true}\n"),
		"shop/templates/x.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\ndata:\n  a: {{ .Values.db.data | b64enc }}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: yy}\ndata:\n  url: pg://u:{{ .Values.db.data | urlquery }}@h:{{ int .Values.db.port }}/\n  conf: {{ dict \"pw\" .Values.db.data | toJson | quote }}\n  plain: hello\n",
	})
	in := render.Input{Path: "shop", Tree: tree(files), Decrypt: open, Spec: render.Spec{Helm: &render.HelmSpec{ValuesFiles: []string{"secrets.yaml"}}}}
	res, _ := rendered(t, in)
	clean(t, res)
	if s := sensitive(res); s["x"] != "/data/a" || s["yy"] != "/data/conf /data/url" {
		t.Error(s)
	}
	in.Decrypt = nil
	res, _ = rendered(t, in)
	want(t, res.Incomplete, "shop/secrets.yaml is encrypted and there is no key here to open it")
	if u := unknown(res); len(res.Diagnostics) > 0 || u["x"] != "/data/a" || u["yy"] != "/data/conf /data/url" {
		t.Error(res.Diagnostics, u)
	}

	// A mistake whose text holds a secret does not show it.
	in.Decrypt = open
	for _, c := range []string{"{{ fail .Values.db.data }}", "{{ .Values.db.data.x }}", "a: [ {{ .Values.db.data }}", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: \"{{ .Values.db.data }}!\"}", "{{ fail (trunc 8 .Values.db.data) }}", "{{ fail (b64enc .Values.db.data) }}"} {
		in.Tree = tree(merged(files, map[string]string{"shop/templates/bad.yaml": c}))
		res, _ := rendered(t, in)
		text := res.Diagnostics.Error()
		if res.Diagnostics.Err() == nil || strings.Contains(text, "correct") || strings.Contains(text, base64.StdEncoding.EncodeToString([]byte(longSecret))) {
			t.Errorf("%s: %s", c, text)
		}
	}
}

func TestSOPSInKustomizeAndJsonnet(t *testing.T) {
	seal, open := sealer(t)
	files := map[string]string{
		"k/kustomization.yaml": "resources: [a.yaml]\nsecretGenerator:\n- name: env\n  envs: [x.env]\n- name: bin\n  files: [key.bin]\nconfigMapGenerator:\n- name: leak\n  files: [conf.json]\n",
		"k/a.yaml":             seal("a.yaml", sealedText),
		"k/x.env":              seal("x.env", "TOKEN="+longSecret+"\nUSER_unencrypted=joe\n"),
		"k/key.bin":            seal("key.bin", "binary-"+longSecret),
		"k/conf.json":          seal("conf.json", `{"pw": "another-long-one", "open_unencrypted": 1}`),
		"j/main.jsonnet":       "local s = std.parseYaml(importstr '../k/s.yaml');\n{apiVersion: 'v1', kind: 'ConfigMap', metadata: {name: 'j'}, data: {a: 'x' + s.pw, b: 'y'}}",
		"k/s.yaml":             seal("s.yaml", "pw: "+longSecret+"\n"),
	}
	res, _ := rendered(t, render.Input{Path: "k", Tree: tree(files), Decrypt: open})
	clean(t, res)
	for name, at := range sensitive(res) {
		name, _, _ = strings.Cut(name, "-")
		if w := map[string]string{"c": "/data/n /data/ok /data/on /data/password /data/pin /data/text", "second": "", "env": "/data/TOKEN", "bin": "/data/key.bin", "leak": "/data/conf.json"}[name]; at != w {
			t.Errorf("%s: %s, not %s", name, at, w)
		}
	}
	res, _ = rendered(t, render.Input{Path: "j", Tree: tree(files), Decrypt: open})
	clean(t, res)
	if s := sensitive(res); s["j"] != "/data/a" {
		t.Error(s)
	}
}

func TestSensitiveOutputsAreMarked(t *testing.T) {
	in := render.Input{Path: "k", Spec: render.Spec{Templates: []string{"**"}}, Tree: tree(map[string]string{"k/a.yaml": configMap("a") + "data: {x: 'p={{ .pw }}', y: '{{ .open }}', z: {{ .later }}}\n"}),
		Values: map[string]plan.Output{"pw": output(longSecret, true), "open": output("seen", false), "later": {Unknown: true, Sensitive: true}}}
	res, _ := rendered(t, in)
	clean(t, res)
	if s, u := sensitive(res), unknown(res); s["a"] != "/data/x" || u["a"] != "/data/z" {
		t.Error(s, u)
	}
}

// TestWhichDocumentWasSealedCantBeTold: what was decrypted has other documents
// than the file in Git, so that all of it is hidden.
func TestWhichDocumentWasSealedCantBeTold(t *testing.T) {
	body := configMap("a") + "data: {password: 'ENC[AES256_GCM,data:x,iv:x,tag:x,type:str]'}\nsops:\n    mac: ENC[AES256_GCM,data:x,iv:x,tag:x,type:str]\n"
	in := render.Input{Path: "a.yaml", Tree: tree(map[string]string{"a.yaml": body}), Decrypt: func(context.Context, string, []byte) ([]byte, error) {
		return []byte(configMap("first") + "data: {n: one}\n---\n" + configMap("a") + "data: {password: " + longSecret + "}\n"), nil
	}}
	res, _ := rendered(t, in)
	if got := sensitive(res)["a"]; !strings.Contains(got, "/data/password") {
		t.Errorf("hidden are %q", got)
	}
}

// TestManySecretsTakeNoTimeHere: every value is searched for every secret, and
// that is done where it can be stopped.
func TestManySecretsTakeNoTimeHere(t *testing.T) {
	sealed, open := strings.Builder{}, strings.Builder{}
	for i := range 3000 {
		fmt.Fprintf(&sealed, "  k%d: 'ENC[AES256_GCM,data:x,iv:x,tag:x,type:str]'\n", i)
		fmt.Fprintf(&open, "  k%d: secret-%d\n", i, i)
	}
	asked := 0
	in := render.Input{Path: "a.yaml", Tree: tree(map[string]string{"a.yaml": configMap("a") + "data:\n" + sealed.String() + "sops:\n    mac: ENC[AES256_GCM,data:x,iv:x,tag:x,type:str]\n"}),
		Decrypt: func(context.Context, string, []byte) ([]byte, error) {
			asked++
			return []byte(configMap("a") + "data:\n" + open.String()), nil
		}}
	res, got := rendered(t, in)
	clean(t, res)
	want(t, got, "ConfigMap/a a.yaml:1")
	if len(res.Objects[0].Sensitive) != 3000 || asked != 2 {
		t.Errorf("%d are hidden, decrypted %d times", len(res.Objects[0].Sensitive), asked)
	}
}
