package flux

import (
	"strings"
	"time"

	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/handover"
)

// kustomizationHealth carries over what Flux waits for after an apply.
func (c *converter) kustomizationHealth(o *handover.Object, t *handover.Target) {
	spec := o.At("spec")
	within := handover.Duration(spec.At("timeout").Duration())
	if within == 0 { // as Flux does it
		within = handover.Duration(spec.At("interval").Duration())
	}
	h := handover.Health{Within: max(within, handover.Duration(time.Second))}
	some := c.checked(o)
	switch {
	case spec.At("wait").Yes():
		h.Ready = "all"
	case len(some) > 0:
		h.Ready = some
	}
	h.Expressions = c.expressions(o)
	if h.Ready != nil {
		t.Health = append(t.Health, h)
	} else if len(h.Expressions) > 0 {
		c.out.Differs(o, "spec.healthCheckExprs", "Flux uses them only with wait or healthChecks, and there is neither", "nothing, or add health: [{ ready: all, expressions: … }]")
	}
}

// checked lists the addresses of healthChecks.
func (c *converter) checked(o *handover.Object) []string {
	var out []string
	for _, h := range o.At("spec", "healthChecks").Items() {
		group, kind := groupOf(h.At("apiVersion").Text()), h.At("kind").Text()
		a := string(manifest.Ref{Group: group, Kind: kind, Namespace: h.At("namespace").Text(), Name: h.At("name").Text()}.Address())
		if strings.HasSuffix(group, ".toolkit.fluxcd.io") {
			c.out.Lost(o, h.Path(), "it waits for an object of Flux, "+a+", which goes", "make the target of that object one that this one depends on")
			continue
		}
		if inv, ok := Inventory(o); ok && !contains(inv, a) {
			c.out.Lost(o, h.Path(), "a health check is about the target's own objects, and "+a+" is none", "put it into the target that applies it, and let this one depend on that")
			continue
		}
		out = append(out, a)
	}
	return out
}

func contains(refs []manifest.Ref, address string) bool {
	for _, r := range refs {
		if string(r.Address()) == address {
			return true
		}
	}
	return false
}

// groupOf gives the group of an apiVersion.
func groupOf(api string) string {
	if group, _, ok := strings.Cut(api, "/"); ok {
		return group
	}
	return ""
}

// expressions carries CEL over: current is ready, failed is failed.
func (c *converter) expressions(o *handover.Object) []handover.Rule {
	var out []handover.Rule
	for _, e := range o.At("spec", "healthCheckExprs").Items() {
		kind := e.At("kind").Text()
		if g := groupOf(e.At("apiVersion").Text()); g != "" {
			kind += "." + g
		}
		if p := e.At("inProgress"); p.Has() {
			p.Ignore()
			c.out.Differs(o, p.Path(), "what is neither ready nor failed is in progress", "nothing, unless the object can be ready and in progress at once: then add that to the expression of ready")
		}
		out = append(out, handover.Rule{Kind: kind, Ready: e.At("current").Text(), Failed: e.At("failed").Text()})
	}
	return out
}
