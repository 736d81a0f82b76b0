package exec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"trueup.dev/trueup/internal/plan"
)

// report is what a plan command prints: version 1 of the contract.
type report struct {
	Version int `json:"version"`
	// Objects lists all that the tool manages for the target and that is as it
	// should be. Without the list nothing is known of objects without a change.
	Objects *[]object  `json:"objects"`
	Changes []reported `json:"changes"`
	// Unmanaged counts what the tool saw and left to others.
	Unmanaged int                    `json:"unmanaged"`
	Outputs   map[string]plan.Output `json:"outputs"`
	Warnings  []string               `json:"warnings"`
}

type object struct {
	Address plan.Address `json:"address"`
	Kind    string       `json:"kind"`
}

// reported is one change.
type reported struct {
	object
	Action    plan.Action     `json:"action"`
	Reason    plan.Reason     `json:"reason"`
	Before    json.RawMessage `json:"before"`
	After     json.RawMessage `json:"after"`
	Sensitive []string        `json:"sensitive"`
	Unknown   []string        `json:"unknown"`
	Impact    []plan.Impact   `json:"impact"`
	Simulated bool            `json:"simulated"`
	Note      string          `json:"note"`
	Conflict  string          `json:"conflict"`
	Source    plan.Source     `json:"source"`
}

const (
	maxChanges = 100_000
	maxAddress = 1024
	maxNote    = 4096
)

// decodeReport reads what a plan command printed. Every mistake is named.
func decodeReport(raw []byte) (*report, error) {
	var loose struct {
		Version   json.RawMessage   `json:"version"`
		Objects   *json.RawMessage  `json:"objects"`
		Changes   []json.RawMessage `json:"changes"`
		Unmanaged json.RawMessage   `json:"unmanaged"`
		Outputs   json.RawMessage   `json:"outputs"`
		Warnings  json.RawMessage   `json:"warnings"`
	}
	if len(bytes.TrimSpace(raw)) == 0 {
		return nil, errors.New("plan printed nothing; it must print {\"version\": 1, \"changes\": [...]}, also when nothing is to change")
	}
	if err := strict(raw, &loose); err != nil {
		return nil, fmt.Errorf("what plan printed is not the JSON of the contract: %w", err)
	}
	var d plan.Diagnostics
	r := &report{}
	part := func(field string, from json.RawMessage, to any) {
		if len(from) == 0 {
			return
		}
		if err := strict(from, to); err != nil {
			d.Errorf(plan.Source{}, field, "see the contract in the documentation of the exec driver", "%v", err)
		}
	}
	part("version", loose.Version, &r.Version)
	if r.Version != 1 && d.Err() == nil {
		d.Errorf(plan.Source{}, "version", "print \"version\": 1", "%d is unknown", r.Version)
	}
	if loose.Changes == nil {
		d.Errorf(plan.Source{}, "changes", "print an empty list when nothing is to change", "is missing: a report that was cut short must not look like one without changes")
	}
	if loose.Objects != nil {
		r.Objects = &[]object{}
		part("objects", *loose.Objects, r.Objects)
	}
	part("unmanaged", loose.Unmanaged, &r.Unmanaged)
	part("outputs", loose.Outputs, &r.Outputs)
	part("warnings", loose.Warnings, &r.Warnings)
	if len(loose.Changes) > maxChanges {
		d.Errorf(plan.Source{}, "changes", "plan fewer at a time", "there are %d, more than %d", len(loose.Changes), maxChanges)
		loose.Changes = nil
	}
	for i, c := range loose.Changes {
		var x reported
		part(fmt.Sprintf("changes[%d]", i), c, &x)
		r.Changes = append(r.Changes, x)
	}
	if d.Err() == nil {
		r.check(&d)
	}
	return r, d.Err()
}

// strict decodes a document that must hold known fields alone and be whole.
func strict(raw []byte, to any) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(to); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return errors.New("it was cut short")
		}
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the document")
	}
	return nil
}

// check looks at what the fields mean.
func (r *report) check(d *plan.Diagnostics) {
	seen := map[plan.Address]string{}
	once := func(field string, o object) {
		checkAddress(d, field+".address", o.Address)
		if was, dup := seen[o.Address]; dup {
			d.Errorf(plan.Source{}, field+".address", "report each object once", "%q stands at %s too", o.Address, was)
		}
		seen[o.Address] = field
	}
	for i := range r.Changes {
		c, field := &r.Changes[i], fmt.Sprintf("changes[%d]", i)
		once(field, c.object)
		c.check(d, field)
	}
	if r.Objects != nil {
		for i, o := range *r.Objects {
			once(fmt.Sprintf("objects[%d]", i), o)
		}
	}
	if r.Unmanaged < 0 {
		d.Errorf(plan.Source{}, "unmanaged", "print a number from 0 up", "is negative")
	}
	checkOutputs(d, "outputs", r.Outputs)
}

func checkOutputs(d *plan.Diagnostics, field string, o map[string]plan.Output) {
	for _, n := range sortedKeys(o) {
		if !variable.MatchString(n) {
			d.Errorf(plan.Source{}, field+"."+n, "use letters, digits and _", "%q is no name of an output", n)
		}
		if len(o[n].Value) == 0 && !o[n].Unknown {
			d.Errorf(plan.Source{}, field+"."+n, "give a value, or \"unknown\": true", "has no value")
		}
	}
}

func checkAddress(d *plan.Diagnostics, field string, a plan.Address) {
	switch {
	case a == "":
		d.Errorf(plan.Source{}, field, "name the object", "is missing")
	case len(a) > maxAddress:
		d.Errorf(plan.Source{}, field, "use a shorter name", "is longer than %d bytes", maxAddress)
	case clean(string(a)) != string(a) || strings.ContainsAny(string(a), "\t\n"):
		d.Errorf(plan.Source{}, field, "remove them", "holds control characters")
	}
}

func (c *reported) check(d *plan.Diagnostics, field string) {
	none := func(doc json.RawMessage) bool { return len(doc) == 0 || string(doc) == "null" }
	switch c.Action {
	case plan.Create:
		if !none(c.Before) {
			d.Errorf(plan.Source{}, field+".before", "leave it out, or plan an update", "a create has nothing before it")
		}
	case plan.Delete:
		if !none(c.After) {
			d.Errorf(plan.Source{}, field+".after", "leave it out, or plan an update", "a delete has nothing after it")
		}
	case plan.Update, plan.Replace, plan.Disable:
	case "":
		d.Errorf(plan.Source{}, field+".action", "write create, update, replace, disable or delete", "is missing")
	default:
		d.Errorf(plan.Source{}, field+".action", "write create, update, replace, disable or delete", "%q is unknown", c.Action)
	}
	switch c.Reason {
	case "", plan.BySpec, plan.ByDrift, plan.ByPrune:
	default:
		d.Errorf(plan.Source{}, field+".reason", "write spec, drift or prune, or leave it out", "%q is unknown", c.Reason)
	}
	for n, pointers := range map[string][]string{"sensitive": c.Sensitive, "unknown": c.Unknown} {
		for i, p := range pointers {
			if p != "" && !strings.HasPrefix(p, "/") {
				d.Errorf(plan.Source{}, fmt.Sprintf("%s.%s[%d]", field, n, i), "write it as /field/name", "%q is no JSON pointer", p)
			}
		}
	}
	for i, im := range c.Impact {
		if im.Class == "" || min(im.Create, im.Update, im.Replace, im.Delete, im.Disable) < 0 {
			d.Errorf(plan.Source{}, fmt.Sprintf("%s.impact[%d]", field, i), "give a class and numbers from 0 up", "counts nothing that a guard could add up")
		}
	}
	if len(c.Note) > maxNote {
		d.Errorf(plan.Source{}, field+".note", "shorten it", "is longer than %d bytes", maxNote)
	}
}
