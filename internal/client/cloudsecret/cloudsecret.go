// Package cloudsecret reads the secret stores of AWS, Google Cloud and Azure
// through their SDKs. Each gives the text of a secret, or, with "#FIELD", one
// field of a secret that holds a JSON object.
package cloudsecret

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"trueup.dev/trueup/internal/secret"
)

// HTTP is how requests are sent; nil is the SDK's own way.
type HTTP = *http.Client

// split cuts "NAME#FIELD"; the field may be left out.
func split(rest string) (name, field string, err error) {
	name, field, cut := strings.Cut(rest, "#")
	if name == "" || cut && field == "" {
		return "", "", fmt.Errorf("write NAME or NAME#FIELD")
	}
	return name, field, nil
}

// pick gives the text, or one field of it.
func pick(text, name, field string) (secret.Value, error) {
	if field == "" {
		return secret.New(text), nil
	}
	var doc map[string]any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&doc); err != nil {
		// The decoder's words may quote the secret.
		return secret.Value{}, fmt.Errorf("secret %s is no JSON object, so it has no field %q", name, field)
	}
	switch v := doc[field].(type) {
	case string:
		return secret.New(v), nil
	case json.Number:
		return secret.New(v.String()), nil
	case bool:
		return secret.New(fmt.Sprint(v)), nil
	case nil:
		return secret.Value{}, fmt.Errorf("secret %s has no field %q, it has: %s: %w", name, field, strings.Join(slices.Sorted(maps.Keys(doc)), ", "), secret.ErrNotFound)
	default:
		b, err := json.Marshal(v)
		return secret.New(string(b)), err
	}
}
