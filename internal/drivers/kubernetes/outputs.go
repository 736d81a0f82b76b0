package kubernetes

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/plan"
)

// outputAgain is when an output is looked for again that its object does not
// have yet: an address that a load balancer is still waiting for.
const outputAgain = 15 * time.Second

// outputs gives the values that other targets may use, of the target's own
// objects alone: another object may be none of its business.
func (s *set) outputs(p *plan.Plan) error {
	if len(s.spec.Outputs) == 0 || s.in.Mode == plan.Destroy {
		return nil
	}
	p.Outputs = map[string]plan.Output{}
	for _, n := range sortedKeys(s.spec.Outputs) {
		out := s.spec.Outputs[n]
		o := s.outputObject(out)
		if o == nil {
			p.Outputs[n] = plan.Output{Unknown: true, Sensitive: out.Sensitive}
			s.warnings.Warnf(plan.Source{}, "outputs."+n+".object", "name an object that the target asks for", "%s is none of the target's objects", out.Object)
			continue
		}
		v, err := s.output(out, o)
		if err != nil {
			return err
		}
		if p.Outputs[n] = v; v.Unknown && o.live != nil && len(o.desired.Unknown) == 0 {
			p.NextDue = s.in.Now.Add(outputAgain)
		}
	}
	return nil
}

// outputObject finds the desired object that an output is about.
func (s *set) outputObject(out Output) *object {
	ref, err := manifest.ParseAddress(plan.Address(out.Object))
	if err != nil {
		return nil
	}
	return s.want[ref]
}

// output reads one value. What the object does not have, or will have only when
// it is made anew, is not known yet.
func (s *set) output(out Output, o *object) (plan.Output, error) {
	secret := isSecret(o.send)
	v := plan.Output{Sensitive: out.Sensitive || secret || slices.ContainsFunc(o.desired.Sensitive, func(p string) bool { return inside(p, out.Path) })}
	var found any
	if o.live != nil && o.trial.replace == "" {
		found = lookup(o.live.Object, out.Path)
		if o.trial.after != nil && !strings.HasPrefix(out.Path, "/status") {
			found = lookup(o.trial.after.Object, out.Path)
		}
	}
	if found == nil {
		v.Unknown = true
		return v, nil
	}
	if text, ok := found.(string); ok && secret && strings.HasPrefix(out.Path, "/data/") {
		if raw, err := base64.StdEncoding.DecodeString(text); err == nil && utf8.Valid(raw) {
			found = string(raw)
		}
	}
	var err error
	v.Value, err = json.Marshal(found)
	return v, err
}

// inside tells that a pointer leads to a value, into it or around it.
func inside(a, b string) bool {
	return a == b || strings.HasPrefix(a, b+"/") || strings.HasPrefix(b, a+"/")
}
