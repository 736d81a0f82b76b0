package manifest

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/runtime"
	jsonserializer "k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/client-go/kubernetes/scheme"
)

// decoder knows the kinds that every cluster has, as they are in the version
// of Kubernetes that trueup is built with.
var decoder = sync.OnceValues(func() (runtime.Serializer, error) {
	kinds := runtime.NewScheme()
	err := scheme.AddToScheme(kinds)
	return jsonserializer.NewSerializerWithOptions(jsonserializer.DefaultMetaFactory, kinds, kinds, jsonserializer.SerializerOptions{Strict: true}), err
})

var (
	unknownField = regexp.MustCompile(`^unknown field "(.*)"$`)
	wrongType    = regexp.MustCompile(`cannot unmarshal (\w+) into Go (?:struct field \w*\.?(\S+)|value) of type (\S+)`)
	listIndex    = regexp.MustCompile(`\[(\d+)\]`)
	// notYet are texts that stand for values which are not known here.
	notYet = regexp.MustCompile(`\(known after [^()]* is applied\)|ENC\[AES256_GCM,`)
)

// fields checks an object of a kind that every cluster has field by field. A
// field that this version doesn't know is a warning, since a newer cluster may.
func (c *checker) fields() {
	text, err := json.Marshal(c.o)
	if err != nil || notYet.Match(text) {
		return
	}
	dec, err := decoder()
	if err != nil {
		return
	}
	_, _, err = dec.Decode(text, nil, nil)
	switch {
	case err == nil, runtime.IsNotRegisteredError(err), runtime.IsMissingKind(err), runtime.IsMissingVersion(err):
		return
	case runtime.IsStrictDecodingError(err):
		strict, _ := runtime.AsStrictDecodingError(err)
		for _, e := range strict.Errors() {
			c.unknown(e.Error())
		}
		return
	}
	var wrong *json.UnmarshalTypeError
	what, field := "a value does not fit the kind", []any(nil)
	if errors.As(err, &wrong) {
		field, what = steps(wrong.Field), expected(wrong.Type.String(), wrong.Value)
	} else if m := wrongType.FindStringSubmatch(err.Error()); m != nil {
		field, what = steps(m[2]), expected(m[3], m[1])
	}
	if field == nil && c.secretData() {
		return
	}
	c.errorf("", c.label, what, field...)
}

// secretData reports what is no base64 in a Secret.
func (c *checker) secretData() (found bool) {
	data, _ := c.o["data"].(map[string]any)
	if c.o["kind"] != "Secret" {
		return false
	}
	for _, k := range slices.Sorted(maps.Keys(data)) {
		s, _ := data[k].(string)
		if _, err := base64.StdEncoding.DecodeString(s); err != nil {
			c.errorf("write it under stringData, or encode it", c.label, "the value is no base64", "data", k)
			found = true
		}
	}
	return found
}

// unknown warns of a field.
func (c *checker) unknown(text string) {
	m := unknownField.FindStringSubmatch(text)
	if m == nil {
		return // duplicates were reported before
	}
	field := steps(m[1])
	c.found.Warnf(c.at(field...), m[1], "", "%s: Kubernetes %s does not know this field; clusters leave it out", c.label, builtWith)
}

// builtWith is the version whose kinds are known.
const builtWith = "1.37"

func expected(want, got string) string {
	got, _, _ = strings.Cut(got, " ")
	switch got {
	case "object":
		got = "mapping"
	case "array":
		got = "list"
	case "bool":
		got = "boolean"
	}
	return "a " + plainType(want) + " was expected, not a " + got
}

func plainType(s string) string {
	switch {
	case strings.HasPrefix(s, "int"), strings.HasPrefix(s, "uint"), strings.HasPrefix(s, "float"):
		return "number"
	case s == "bool":
		return "boolean"
	case strings.HasPrefix(s, "[]"):
		return "list"
	case s == "string":
		return s
	}
	return "mapping"
}

// steps takes a path of fields apart: spec.containers[0].image.
func steps(p string) []any {
	var out []any
	for part := range strings.SplitSeq(listIndex.ReplaceAllString(p, ".$1"), ".") {
		if n, err := strconv.Atoi(part); err == nil {
			out = append(out, n)
		} else if part != "" {
			out = append(out, part)
		}
	}
	return out
}
