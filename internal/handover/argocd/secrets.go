package argocd

import (
	"encoding/base64"

	"trueup.dev/trueup/internal/handover"
)

// plain are the keys of Argo CD's Secrets that are no secrets.
var plain = []string{"url", "type", "name", "server", "project", "enableOCI", "insecure", "namespaces", "clusterResources", "forceHttpBasicAuth", "enableLfs"}

// Keep decides about an object that was read. Of a Secret only what is no
// secret is kept, with the names of the other keys.
func Keep(o *handover.Object) bool {
	if !o.Is("", "Secret") {
		return true
	}
	keep := map[string]any{}
	for _, part := range []string{"data", "stringData"} {
		values, _ := o.Object[part].(map[string]any)
		for k, v := range values {
			text, _ := v.(string)
			keep[k] = ""
			for _, p := range plain {
				if k == p {
					keep[k] = open(part, text)
				}
			}
		}
		delete(o.Object, part)
	}
	for _, k := range []string{"sops"} {
		delete(o.Object, k)
	}
	labels := o.GetLabels()
	if labels[secretType] == "" {
		return false
	}
	if annotations := o.GetAnnotations(); len(annotations) > 0 { // the last applied configuration has it all
		delete(annotations, "kubectl.kubernetes.io/last-applied-configuration")
		o.SetAnnotations(annotations)
	}
	if url, secret := handover.GitURL(text(keep["url"])); secret {
		keep["url"] = url
		keep["password"] = ""
	}
	o.Object["stringData"] = keep
	*o = *handover.NewObject(o.Unstructured, o.Source)
	return true
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

func open(part, value string) string {
	if part != "data" {
		return value
	}
	b, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		return ""
	}
	return string(b)
}
