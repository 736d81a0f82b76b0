package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/invopop/jsonschema"

	"trueup.dev/trueup/internal/config/strict"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/secret"
)

// Kinds are the kinds of files that have a schema.
var Kinds = []string{"server", "trueup"}

// Schema gives the JSON Schema of server.yaml (kind "server") or trueup.yaml
// (kind "trueup"), with the parts that belong to drivers.
func Schema(kind string, drivers driver.Registry) ([]byte, error) {
	return SchemaWith(builtin(), kind, drivers)
}

// SchemaWith is Schema with given comments.
func SchemaWith(comments Comments, kind string, drivers driver.Registry) ([]byte, error) {
	b := &schemaBuilder{comments: comments, drivers: drivers}
	var root *jsonschema.Schema
	switch kind {
	case "server":
		root = b.reflect(reflect.TypeFor[Server](), "")
		b.server(root)
	case "trueup":
		root = b.reflect(reflect.TypeFor[Manifest](), "")
		b.manifest(root)
	default:
		return nil, fmt.Errorf("there is no schema %q; there are: %s", kind, strings.Join(Kinds, ", "))
	}
	root.Version = jsonschema.Version
	root.Title = kind + ".yaml of trueup"
	out, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("schema of %s.yaml: %w", kind, err)
	}
	return append(out, '\n'), nil
}

type schemaBuilder struct {
	comments Comments
	drivers  driver.Registry
}

// reflect makes the schema of a type; the prefix keeps the definitions of
// drivers apart.
func (b *schemaBuilder) reflect(t reflect.Type, prefix string) *jsonschema.Schema {
	structs := map[string]reflect.Type{}
	r := &jsonschema.Reflector{FieldNameTag: "yaml", RequiredFromJSONSchemaTags: true, Anonymous: true, Mapper: known,
		LookupComment: b.comments.of,
		Namer: func(t reflect.Type) string {
			if t.Name() == "" {
				return ""
			}
			structs[prefix+t.Name()] = t
			return prefix + t.Name()
		}}
	s := r.ReflectFromType(t)
	for name, st := range structs {
		if def := s.Definitions[name]; def != nil && def.Properties != nil && st.Kind() == reflect.Struct {
			adjust(def, st)
		}
	}
	return s
}

// known gives the schemas of types that read themselves.
func known(t reflect.Type) *jsonschema.Schema {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return &jsonschema.Schema{Type: "string", Pattern: `^([0-9.]+(ns|us|µs|ms|s|m|h))+$|^0$`}
	case reflect.TypeFor[secret.Ref]():
		return &jsonschema.Schema{Type: "string", Pattern: `^[a-z][a-z0-9+.-]*:.`}
	case reflect.TypeFor[driver.ScopeSpec]():
		return &jsonschema.Schema{Type: "object"}
	case reflect.TypeFor[Window]():
		return &jsonschema.Schema{Type: "string", Pattern: windowForm.String()}
	case reflect.TypeFor[Limit]():
		return limitSchema()
	case reflect.TypeFor[Amount]():
		return amountSchema()
	case reflect.TypeFor[Batches]():
		return &jsonschema.Schema{OneOf: append(amountSchema().OneOf, &jsonschema.Schema{Type: "array", Items: amountSchema()})}
	case reflect.TypeFor[Order]():
		words := make([]any, len(orders))
		for i, w := range orders {
			words[i] = w
		}
		return &jsonschema.Schema{OneOf: []*jsonschema.Schema{{Type: "string", Enum: words}, {Type: "array", Items: &jsonschema.Schema{Type: "string"}}}}
	}
	return nil
}

func amountSchema() *jsonschema.Schema {
	return &jsonschema.Schema{OneOf: []*jsonschema.Schema{{Type: "integer", Minimum: "0"}, {Type: "string", Pattern: percent.String()}}}
}

func limitSchema() *jsonschema.Schema {
	props := jsonschema.NewProperties()
	number := &jsonschema.Schema{Type: "integer", Minimum: "0"}
	share := &jsonschema.Schema{Type: "string", Pattern: percent.String()}
	props.Set("max", number)
	props.Set("share", share)
	props.Set("classes", &jsonschema.Schema{Type: "object", AdditionalProperties: number})
	return &jsonschema.Schema{OneOf: []*jsonschema.Schema{number, share,
		{Type: "object", Properties: props, AdditionalProperties: jsonschema.FalseSchema}}}
}

// adjust adds to a struct's schema what its other tags and methods say.
func adjust(def *jsonschema.Schema, t reflect.Type) {
	for _, f := range strict.Fields(t) {
		p, ok := def.Properties.Get(f.Name)
		if !ok {
			continue
		}
		if about := described(t.FieldByIndex(f.Index)); about != "" {
			p.Description = about
		}
		if f.One {
			def.Properties.Set(f.Name, &jsonschema.Schema{Description: p.Description,
				AnyOf: []*jsonschema.Schema{{Type: "string"}, {Type: "array", Items: p.Items}}})
			p.Description = ""
		}
		if f.One && len(f.Enum) > 0 && p.Items != nil {
			p.Items.Enum = nil
			for _, v := range f.Enum {
				p.Items.Enum = append(p.Items.Enum, v)
			}
		}
	}
	if _, open := reflect.New(t).Interface().(strict.Extra); open {
		def.AdditionalProperties = nil
	}
}

// server puts the drivers' connect and scope into the environments.
func (b *schemaBuilder) server(root *jsonschema.Schema) {
	env := root.Definitions["Environment"]
	var names []any
	for _, name := range b.drivers.Names() {
		names = append(names, name)
		parts := b.parts(root, name)
		props := jsonschema.NewProperties()
		if ref := parts["connect"]; ref != nil {
			props.Set("connect", ref)
		}
		if ref := parts["scope"]; ref != nil {
			item := jsonschema.NewProperties()
			item.Set("scope", ref)
			props.Set("allow", &jsonschema.Schema{Items: &jsonschema.Schema{Properties: item}})
		}
		is := jsonschema.NewProperties()
		is.Set("driver", &jsonschema.Schema{Const: name})
		env.AllOf = append(env.AllOf, &jsonschema.Schema{
			If:   &jsonschema.Schema{Properties: is, Required: []string{"driver"}},
			Then: &jsonschema.Schema{Properties: props}})
	}
	if p, ok := env.Properties.Get("driver"); ok {
		p.Enum = names
	}
}

// manifest puts the drivers' spec and scope into the targets. Which driver an
// environment has is not known there, so any of them will do.
func (b *schemaBuilder) manifest(root *jsonschema.Schema) {
	target := root.Definitions["Target"]
	for _, part := range []string{"spec", "scope"} {
		var any []*jsonschema.Schema
		for _, name := range b.drivers.Names() {
			if ref := b.parts(root, name)[part]; ref != nil {
				any = append(any, ref)
			}
		}
		if p, ok := target.Properties.Get(part); ok && len(any) > 0 {
			target.Properties.Set(part, &jsonschema.Schema{Description: p.Description, AnyOf: any})
		}
	}
}

// parts adds the definitions of a driver's types and refers to them.
func (b *schemaBuilder) parts(root *jsonschema.Schema, name string) map[string]*jsonschema.Schema {
	out := map[string]*jsonschema.Schema{}
	types := partTypes(b.drivers[name].Info())
	for _, part := range sorted(types) {
		s := b.reflect(types[part], name+".")
		for key, def := range s.Definitions {
			root.Definitions[key] = def
		}
		out[part] = &jsonschema.Schema{Ref: s.Ref}
	}
	return out
}
