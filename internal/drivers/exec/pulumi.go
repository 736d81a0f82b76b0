package exec

import (
	"encoding/json"
	"fmt"
	"strings"

	"trueup.dev/trueup/internal/plan"
)

const pulumi Preset = "pulumi"

const pulumiHidden = "[secret]"

func pulumiPreset() preset {
	return preset{needs: "stack", fill: fillPulumi, read: readPulumi, outputs: pulumiOutputs}
}

func fillPulumi(c *Connect) {
	p := func(args ...string) []string {
		return append(append([]string{"/usr/local/bin/pulumi"}, args...), "--non-interactive", "--stack", c.Stack)
	}
	c.Plan = p("preview", "--json", "--save-plan", "{plan}")
	c.Apply = p("up", "--yes", "--skip-preview", "--plan", "{plan}")
	c.Destroy = p("destroy", "--yes", "--skip-preview")
	c.Outputs = p("stack", "output", "--json")
	c.Env["PULUMI_SKIP_UPDATE_CHECK"] = "true"
	c.Env["PULUMI_EXPERIMENTAL"] = "true" // saved plans
}

type pulumiState struct {
	Type   string          `json:"type"`
	Inputs json.RawMessage `json:"inputs"`
}

type pulumiStep struct {
	Op       string       `json:"op"`
	URN      string       `json:"urn"`
	OldState *pulumiState `json:"oldState"`
	NewState *pulumiState `json:"newState"`
}

// readPulumi reads `pulumi preview --json`. A replacement is several steps for
// one resource; they become one change.
func readPulumi(w *work, r ran) (*report, error) {
	var digest struct {
		Steps       []pulumiStep `json:"steps"`
		Diagnostics []struct {
			Message  string `json:"message"`
			Severity string `json:"severity"`
		} `json:"diagnostics"`
		Summary      map[string]int `json:"changeSummary"`
		MaybeCorrupt bool           `json:"maybeCorrupt"`
	}
	err := json.Unmarshal(r.out, &digest)
	for _, d := range digest.Diagnostics {
		if d.Severity == "error" {
			return nil, fmt.Errorf("pulumi: %s", w.scrub.text(clean(strings.TrimSpace(d.Message))))
		}
	}
	switch {
	case r.status != 0:
		return nil, r.failure("pulumi preview")
	case err != nil:
		return nil, fmt.Errorf("what pulumi preview printed can't be read: %w", err)
	case digest.Summary == nil:
		return nil, fmt.Errorf("pulumi preview printed no summary: the preview is not whole")
	case digest.MaybeCorrupt:
		return nil, fmt.Errorf("pulumi says that the stack may be corrupt")
	}
	out := &report{Version: 1, Objects: &[]object{}}
	at := map[string]int{} // a changed resource's place in Changes
	for i := range digest.Steps {
		if err := out.pulumiStep(&digest.Steps[i], at); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (r *report) pulumiStep(s *pulumiStep, at map[string]int) error {
	kind := ""
	if parts := strings.SplitN(s.URN, "::", 4); len(parts) == 4 {
		kind = parts[2][strings.LastIndex(parts[2], "$")+1:]
	}
	if kind == "" {
		return fmt.Errorf("pulumi: %q is no URN", s.URN)
	}
	if kind == "pulumi:pulumi:Stack" || strings.HasPrefix(kind, "pulumi:providers:") {
		return nil // pulumi's own records
	}
	action, known := map[string]plan.Action{"create": plan.Create, "import": plan.Create, "update": plan.Update, "delete": plan.Delete,
		"replace": plan.Replace, "create-replacement": plan.Replace, "delete-replaced": plan.Replace, "import-replacement": plan.Replace,
		"same": plan.None, "read": "", "read-replacement": "", "refresh": "", "discard": "", "discard-replaced": "", "remove-pending-replace": ""}[s.Op]
	switch {
	case !known:
		return fmt.Errorf("pulumi: the operation %q of %s is unknown to this version of trueup", s.Op, s.URN)
	case action == "":
		return nil
	case action == plan.None:
		*r.Objects = append(*r.Objects, object{plan.Address(s.URN), kind})
		return nil
	}
	i, seen := at[s.URN]
	if !seen {
		i, at[s.URN] = len(r.Changes), len(r.Changes)
		im := one(action)
		im.Class = "resource"
		r.Changes = append(r.Changes, reported{object: object{plan.Address(s.URN), kind}, Action: action, Impact: []plan.Impact{im}})
	}
	c := &r.Changes[i]
	if s.OldState != nil && action != plan.Create && len(c.Before) == 0 {
		c.Before = s.OldState.Inputs
	}
	if s.NewState != nil && action != plan.Delete && s.Op != "delete-replaced" && len(c.After) == 0 {
		c.After = s.NewState.Inputs
	}
	if s.Op == "import" {
		c.Note = "imported: it exists already"
	}
	return nil
}

// pulumiOutputs reads `pulumi stack output --json`, which hides secrets: those
// are not given to others.
func pulumiOutputs(raw []byte) (map[string]plan.Output, error) {
	var values map[string]json.RawMessage
	if err := json.Unmarshal(raw, &values); err != nil {
		return nil, fmt.Errorf("what pulumi stack output printed can't be read: %w", err)
	}
	out := map[string]plan.Output{}
	for n, v := range values {
		if string(v) != `"`+pulumiHidden+`"` && variable.MatchString(n) {
			out[n] = plan.Output{Value: v}
		}
	}
	return out, nil
}
