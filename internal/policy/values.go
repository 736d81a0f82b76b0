package policy

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"trueup.dev/trueup/internal/plan"
)

// The objects that rules can look at, with their fields. Because they are
// declared, a misspelt field is found when the rule is loaded.
var (
	planType   = types.NewObjectType("trueup.Plan", traits.IndexerType)
	impactType = types.NewObjectType("trueup.Impact", traits.IndexerType)
	changeType = types.NewObjectType("trueup.Change", traits.IndexerType)
	targetType = types.NewObjectType("trueup.Target", traits.IndexerType)

	objectFields = map[string]map[string]*types.Type{
		"trueup.Plan": {
			"creates": types.IntType, "updates": types.IntType, "deletes": types.IntType, "replaces": types.IntType,
			"renames": types.IntType, "adopts": types.IntType, "disables": types.IntType, "forgets": types.IntType,
			"mode": types.StringType, "impact": types.NewMapType(types.StringType, impactType),
			"changes": types.NewListType(changeType), "writes": types.IntType,
			"actions": types.NewListType(types.StringType), "kinds": types.NewListType(types.StringType),
		},
		"trueup.Impact": {
			"create": types.IntType, "update": types.IntType, "replace": types.IntType, "delete": types.IntType,
			"disable": types.IntType, "owned": types.IntType,
		},
		"trueup.Change": {
			"scope": types.StringType, "address": types.StringType, "kind": types.StringType, "action": types.StringType,
			"reason": types.StringType, "before": types.DynType, "after": types.DynType,
		},
		"trueup.Target": {"name": types.StringType, "environment": types.StringType, "repository": types.StringType},
	}
	objectTypes = map[string]*types.Type{
		"trueup.Plan": planType, "trueup.Impact": impactType, "trueup.Change": changeType, "trueup.Target": targetType,
	}
)

// provider adds the objects' types to the standard ones.
type provider struct{ types.Provider }

// FindStructType knows the four objects.
func (p provider) FindStructType(name string) (*types.Type, bool) {
	if t, ok := objectTypes[name]; ok {
		return types.NewTypeTypeWithParam(t), true
	}
	return p.Provider.FindStructType(name)
}

// FindStructFieldNames lists an object's fields.
func (p provider) FindStructFieldNames(name string) ([]string, bool) {
	fields, ok := objectFields[name]
	if !ok {
		return p.Provider.FindStructFieldNames(name)
	}
	var names []string
	for f := range fields {
		names = append(names, f)
	}
	slices.Sort(names)
	return names, true
}

// FindStructFieldType gives the type of an object's field.
func (p provider) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	fields, ok := objectFields[name]
	if !ok {
		return p.Provider.FindStructFieldType(name, field)
	}
	t, ok := fields[field]
	if !ok {
		return nil, false
	}
	return &types.FieldType{Type: t}, true
}

// object is a value with named fields; a field is made when it is asked for,
// so that a rule that only counts does not decode 100,000 documents.
type object struct {
	typ    *types.Type
	fields map[string]func() ref.Val
}

// ConvertToNative is not offered: rules give a boolean.
func (o object) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("%s can't become %s", o.typ.TypeName(), t)
}

// ConvertToType knows type(x) alone.
func (o object) ConvertToType(t ref.Type) ref.Val {
	if t == types.TypeType {
		return o.typ
	}
	return types.NewErr("%s can't become %s", o.typ.TypeName(), t.TypeName())
}

// Equal is identity of the fields; rules compare fields, not objects.
func (o object) Equal(other ref.Val) ref.Val {
	x, ok := other.(object)
	return types.Bool(ok && reflect.ValueOf(o.fields).Pointer() == reflect.ValueOf(x.fields).Pointer())
}

// Type gives the declared type.
func (o object) Type() ref.Type { return o.typ }

// Value gives the object itself.
func (o object) Value() any { return o }

// Get gives a field.
func (o object) Get(field ref.Val) ref.Val {
	name, ok := field.(types.String)
	if !ok {
		return types.MaybeNoSuchOverloadErr(field)
	}
	get, ok := o.fields[string(name)]
	if !ok {
		return types.NewErr("no such field: %s", string(name))
	}
	return get()
}

// IsSet tells whether the object has the field.
func (o object) IsSet(field ref.Val) ref.Val {
	name, _ := field.(types.String)
	_, ok := o.fields[string(name)]
	return types.Bool(ok)
}

// impactMap has an entry of zeros for every class that the plan leaves alone,
// so that a rule can name a class without asking first whether it is there.
type impactMap struct{ traits.Mapper }

// Find never misses a string key.
func (m impactMap) Find(key ref.Val) (ref.Val, bool) {
	if v, ok := m.Mapper.Find(key); ok || types.IsUnknownOrError(v) {
		return v, ok
	}
	if _, ok := key.(types.String); !ok {
		return types.MaybeNoSuchOverloadErr(key), false
	}
	return impactObject(plan.Impact{}, 0), true
}

// Get is Find.
func (m impactMap) Get(key ref.Val) ref.Val {
	v, _ := m.Find(key)
	return v
}

func fixed(v ref.Val) func() ref.Val     { return func() ref.Val { return v } }
func number(n int) func() ref.Val        { return fixed(types.Int(n)) }
func text[T ~string](s T) func() ref.Val { return fixed(types.String(s)) }

func once(f func() ref.Val) func() ref.Val {
	var v ref.Val
	return func() ref.Val {
		if v == nil {
			v = f()
		}
		return v
	}
}

func impactObject(i plan.Impact, owned int) object {
	return object{impactType, map[string]func() ref.Val{
		"create": number(i.Create), "update": number(i.Update), "replace": number(i.Replace),
		"delete": number(i.Delete + i.Replace), "disable": number(i.Disable), "owned": number(owned),
	}}
}

// planObject shows a plan to rules. A replace counts as a delete too.
func planObject(p *plan.Plan) object {
	n := p.Summary()
	return object{planType, map[string]func() ref.Val{
		"creates": number(n[plan.Create]), "updates": number(n[plan.Update]),
		"deletes": number(n[plan.Delete] + n[plan.Replace]), "replaces": number(n[plan.Replace]),
		"renames": number(n[plan.Rename]), "adopts": number(n[plan.Adopt]),
		"disables": number(n[plan.Disable]), "forgets": number(n[plan.Forget]),
		"mode":    text(p.Mode),
		"writes":  number(writes(p)),
		"actions": once(func() ref.Val { return textList(distinct(p, func(c *plan.Change) string { return string(c.Action) })) }),
		"kinds":   once(func() ref.Val { return textList(distinct(p, func(c *plan.Change) string { return c.Kind })) }),
		"impact":  once(func() ref.Val { return impactValue(p) }),
		"changes": once(func() ref.Val { return changesValue(p) }),
	}}
}

func textList(list []string) ref.Val {
	return types.NewStringList(types.DefaultTypeAdapter, list)
}

// writes counts the changes that change the environment.
func writes(p *plan.Plan) int {
	n := 0
	for i := range p.Changes {
		if p.Changes[i].Action.Writes() {
			n++
		}
	}
	return n
}

func impactValue(p *plan.Plan) ref.Val {
	owned := ownedNow(p)
	m := map[ref.Val]ref.Val{}
	for class, n := range owned {
		m[types.String(class)] = impactObject(plan.Impact{}, n)
	}
	for class, i := range impacts(p) {
		m[types.String(class)] = impactObject(i, owned[class])
	}
	return impactMap{types.NewRefValMap(types.DefaultTypeAdapter, m)}
}

func changesValue(p *plan.Plan) ref.Val {
	list := make([]ref.Val, len(p.Changes))
	for i := range p.Changes {
		c := &p.Changes[i]
		list[i] = object{changeType, map[string]func() ref.Val{
			"scope": text(c.Scope), "address": text(c.Address), "kind": text(c.Kind),
			"action": text(c.Action), "reason": text(c.Reason),
			"before": func() ref.Val { return document(c.Before, c.Sensitive) },
			"after":  func() ref.Val { return document(c.After, c.Sensitive) },
		}}
	}
	return types.NewRefValList(types.DefaultTypeAdapter, list)
}

// document decodes before or after without what is sensitive in it.
func document(doc json.RawMessage, sensitive []string) ref.Val {
	if len(doc) == 0 {
		return types.NullValue
	}
	v, err := blank(doc, sensitive)
	if err != nil {
		return types.NewErr("a document of the plan can't be read")
	}
	return types.DefaultTypeAdapter.NativeToValue(v)
}

func timestamp(t time.Time) ref.Val { return types.Timestamp{Time: t} }
