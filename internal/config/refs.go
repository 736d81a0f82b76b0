package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"trueup.dev/trueup/internal/config/strict"
	"trueup.dev/trueup/internal/secret"
)

var refType = reflect.TypeFor[secret.Ref]()

// refs checks every secret reference of the configuration, also those that a
// driver's type read from text by itself, against the schemes there are.
func (p *serverParser) refs() {
	schemes := p.s.Secrets.schemes()
	slices.Sort(schemes)
	check := func(field string, ref secret.Ref) {
		if !slices.Contains(schemes, ref.Scheme()) {
			p.fail(field, "known schemes: "+strings.Join(schemes, ", ")+"; others are set up under secrets",
				"expected a reference to a secret, found something else (not shown: it may be a secret)")
		}
	}
	// What opens a store of secrets must not lie in one.
	walkRefs(reflect.ValueOf(p.s.Secrets), "secrets", func(field string, ref secret.Ref) {
		if ref.Scheme() != "env" && ref.Scheme() != "file" {
			p.fail(field, "write env:NAME or file:PATH", "what opens a store of secrets comes from env or file")
		}
	}, 0)
	for _, name := range sorted(p.s.Repositories) {
		walkRefs(reflect.ValueOf(p.s.Repositories[name]), "repositories."+name, check, 0)
	}
	for _, name := range sorted(p.s.Registries) {
		walkRefs(reflect.ValueOf(p.s.Registries[name]), "registries."+name, check, 0)
	}
	for _, name := range sorted(p.s.Commands) {
		walkRefs(reflect.ValueOf(p.s.Commands[name]), "commands."+name, check, 0)
	}
	for _, name := range sorted(p.s.Environments) {
		walkRefs(reflect.ValueOf(p.s.Environments[name].Connect), "environments."+name+".connect", check, 0)
	}
}

// walkRefs visits the references in a value. A field without a name of its own
// is reported under what it is part of.
func walkRefs(v reflect.Value, field string, visit func(string, secret.Ref), depth int) {
	const deepest = 32
	if !v.IsValid() || depth > deepest {
		return
	}
	if v.Type() == refType {
		if v.Len() > 0 {
			visit(field, secret.Ref(v.String()))
		}
		return
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			walkRefs(v.Elem(), field, visit, depth+1)
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Location]() {
			return
		}
		for i := range v.NumField() {
			sf := v.Type().Field(i)
			name, _, _ := strings.Cut(sf.Tag.Get("yaml"), ",")
			at := field
			switch {
			case !sf.IsExported():
				continue
			case sf.Anonymous && name == "": // its fields are those of the struct around it
			case name == "":
				at = strict.Join(field, strings.ToLower(sf.Name))
			case name != "-":
				at = strict.Join(field, name)
			}
			walkRefs(v.Field(i), at, visit, depth+1)
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			walkRefs(v.Index(i), fmt.Sprintf("%s[%d]", field, i), visit, depth+1)
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			walkRefs(v.MapIndex(k), strict.Join(field, k.String()), visit, depth+1)
		}
	}
}
