package render

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/plan"
)

var (
	sealedForm = regexp.MustCompile(`ENC\[AES256_GCM,data:[^\]]*\]`)
	sealedLeaf = regexp.MustCompile(`^ENC\[AES256_GCM,data:.*,type:(\w+)\]$`)
	dotenvMAC  = regexp.MustCompile(`(?m)^sops_mac=`)
	iniMAC     = regexp.MustCompile(`(?m)^\[sops\]\s*$`)
)

// sealed tells whether SOPS encrypted a file.
func sealed(name string, body []byte) bool {
	if !bytes.Contains(body, []byte("sops")) || !bytes.Contains(body, []byte("ENC[AES256_GCM,")) {
		return false
	}
	switch path.Ext(name) {
	case ".env":
		return dotenvMAC.Match(body)
	case ".ini":
		return iniMAC.Match(body)
	}
	docs, _ := manifest.Documents(structured(name), body)
	for _, d := range docs {
		m, _ := d.Value.(map[string]any)
		meta, _ := m["sops"].(map[string]any)
		if mac, _ := meta["mac"].(string); strings.HasPrefix(mac, "ENC[") {
			return true
		}
	}
	return dotenvMAC.Match(body)
}

// structured gives the name by which a file is read as YAML or JSON. A binary
// file is kept as JSON.
func structured(name string) string {
	switch path.Ext(name) {
	case ".yaml", ".yml", ".json":
		return name
	}
	return name + ".json"
}

// open reads a file, and decrypts it where that is needed and possible.
func (f *files) open(name string) ([]byte, error) {
	body, err := f.read(name)
	if err != nil || !sealed(name, body) {
		return body, err
	}
	if f.decrypt == nil {
		f.note("%s is encrypted and there is no key here to open it", name)
		f.sealed[name] = true
		return withoutKeys(name, body), nil
	}
	plain, err := f.decrypt(f.ctx, name, body)
	switch {
	case errors.Is(err, driver.ErrUnreachable), f.ctx.Err() != nil:
		return nil, fmt.Errorf("%s can't be decrypted now: %w", name, err)
	case err != nil:
		return nil, &badFile{plan.Diagnostic{Severity: plan.Error, Source: plan.Source{File: name}, Message: "it can't be decrypted: " + err.Error(), Mend: "encrypt it for a key that connect.sops of the environment has"}}
	}
	f.remember(name, body, plain)
	f.shown[name] = body
	if f.here > 0 && len(f.secrets.inside) > maxSecretsHere {
		return nil, errElsewhere
	}
	return plain, nil
}

// maxSecretsHere bounds how many texts every value is searched for in this
// process: a recipient's key is public, and anybody can encrypt a lot for it.
const maxSecretsHere = 1000

// badFile is a file with a mistake.
type badFile struct{ d plan.Diagnostic }

// Error gives the mistake.
func (b *badFile) Error() string { return b.d.Error() }

// withoutKeys takes the metadata of SOPS off a file that stays encrypted.
func withoutKeys(name string, body []byte) []byte {
	switch path.Ext(name) {
	case ".yaml", ".yml":
		var out []byte
		skip := false
		for line := range bytes.Lines(body) {
			switch {
			case bytes.HasPrefix(line, []byte("sops:")):
				skip = true
			case skip && len(bytes.TrimSpace(line)) > 0 && line[0] != ' ' && line[0] != '\t':
				skip = false
			}
			if skip {
				line = []byte("\n") // lines keep their numbers
			}
			out = append(out, line...)
		}
		return out
	}
	return body
}

// remember takes note of all that was encrypted in a file: the leaves of
// structured ones, otherwise everything.
func (f *files) remember(name string, body, plain []byte) {
	switch path.Ext(name) {
	case ".yaml", ".yml", ".json":
		before, _ := manifest.Documents(name, body)
		after, _ := manifest.Documents(name, plain)
		if len(before) != len(after) { // which was which can't be told
			for _, d := range after {
				f.secrets.add(name, d.Value)
			}
			f.secrets.add(name, string(plain))
			return
		}
		for i := range before {
			f.compare(name, "", before[i].Value, after[i].Value)
		}
	case ".env", ".ini":
		f.lines(name, body, plain)
	default:
		f.secrets.add(name, string(plain))
	}
}

// openFields are fields that name an object: they are in its address, and so they
// are never hidden.
var openFields = map[string]bool{"/apiVersion": true, "/kind": true, "/metadata/name": true, "/metadata/namespace": true}

func (f *files) compare(name, at string, before, after any) {
	switch b := before.(type) {
	case map[string]any:
		a, _ := after.(map[string]any)
		for k, v := range b {
			f.compare(name, at+"/"+pointerEscape.Replace(k), v, a[k])
		}
	case []any:
		a, _ := after.([]any)
		for i, v := range b {
			if i < len(a) {
				f.compare(name, fmt.Sprintf("%s/%d", at, i), v, a[i])
			}
		}
	case string:
		if sealedLeaf.MatchString(b) && !openFields[at] {
			f.secrets.add(name, after)
		}
	}
}

// lines remembers the values of NAME=VALUE lines that were encrypted.
func (f *files) lines(name string, body, plain []byte) {
	hidden := map[string]bool{}
	for line := range strings.Lines(string(body)) {
		if key, v, ok := strings.Cut(line, "="); ok && strings.Contains(v, "ENC[") {
			hidden[strings.TrimSpace(key)] = true
		}
	}
	for line := range strings.Lines(string(plain)) {
		if key, v, ok := strings.Cut(line, "="); ok && hidden[strings.TrimSpace(key)] {
			f.secrets.add(name, strings.Trim(strings.TrimSpace(v), `"'`))
		}
	}
}

// standIns puts values of the right type where encrypted ones stand, so that
// templates that reckon with them can be tried.
func standIns(x any) any {
	switch v := x.(type) {
	case map[string]any:
		for k, e := range v {
			v[k] = standIns(e)
		}
	case []any:
		for i, e := range v {
			v[i] = standIns(e)
		}
	case string:
		if m := sealedLeaf.FindStringSubmatch(v); m != nil {
			switch m[1] {
			case "int", "float":
				return float64(1)
			case "bool":
				return true
			}
		}
	}
	return x
}

// note adds to what makes the rendering incomplete.
func (f *files) note(format string, args ...any) { f.notes[fmt.Sprintf(format, args...)] = true }
