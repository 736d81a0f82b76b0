package exec

import (
	"slices"
	"strings"

	"trueup.dev/trueup/internal/plan"
)

// Preset names a tool whose commands and output are known.
type Preset string

// preset is what is known of a tool.
type preset struct {
	needs   string // a setting that must be given
	fill    func(c *Connect)
	read    func(w *work, r ran) (*report, error)
	outputs func(raw []byte) (map[string]plan.Output, error)
	write   map[string][]byte // files of ours for the tool
}

var presets = map[Preset]preset{ansible: ansiblePreset(), pulumi: pulumiPreset(), dnscontrol: dnscontrolPreset(),
	jenkins: {fill: func(*Connect) {}}}

// jenkinsToken is where the job's token stands among the secrets; no variable
// can have that name.
const jenkinsToken = "jenkins token"

func (c *Connect) validatePreset(d *plan.Diagnostics) {
	at := plan.Source{}
	p, ok := presets[c.Preset]
	if !ok && c.Preset != "" {
		var names []string
		for n := range presets {
			names = append(names, string(n))
		}
		slices.Sort(names)
		d.Errorf(at, "preset", "write one of "+strings.Join(names, ", "), "%q is unknown", c.Preset)
	}
	for n, v := range map[string]string{"inventory": c.Inventory, "stack": c.Stack} {
		switch {
		case v == "" && p.needs == n:
			d.Errorf(at, n, "see the preset "+string(c.Preset)+" in the documentation of the exec driver", "is missing")
		case v != "" && p.needs != n:
			d.Errorf(at, n, "remove it", "has no meaning with this preset")
		case strings.HasPrefix(v, "-"):
			d.Errorf(at, n, "write it without a dash in front", "%q would be taken for an option", v)
		}
	}
	switch isJenkins := c.Preset == jenkins; {
	case isJenkins && c.Jenkins == nil:
		d.Errorf(at, "jenkins", "give url, job, user and token", "is missing")
	case isJenkins && len(c.Plan)+len(c.Apply)+len(c.Destroy)+len(c.Outputs) > 0:
		d.Errorf(at, "apply", "remove the commands", "the jenkins preset runs a job and no commands")
	case isJenkins:
		c.Jenkins.validate(d)
	case c.Jenkins != nil:
		d.Errorf(at, "jenkins", "remove it", "has no meaning with this preset")
	}
	if ok && len(c.Check) > 0 {
		d.Errorf(at, "check", "remove it", "has no meaning with a preset: the tool plans")
	}
}
