package argocd

import (
	"strings"

	"trueup.dev/trueup/internal/handover"
)

// sync is what an Application's sync policy says.
type sync struct {
	drift  string // correct or report
	manual bool
	mode   string // addOnly where nothing is pruned

	createNamespace bool
}

func (c *converter) syncPolicy(a *app) sync {
	p := a.At("spec", "syncPolicy")
	auto := p.At("automated")
	on := auto.Has()
	if e := auto.At("enabled"); e.Has() && !e.Yes() {
		on = false
	}
	out := sync{drift: "report", manual: !on}
	if auto.At("selfHeal").Yes() && on {
		out.drift = "correct"
	}
	if !auto.At("prune").Yes() && on {
		out.mode = "addOnly"
	}
	if v := auto.At("allowEmpty"); v.Yes() {
		c.out.Lost(a.Object, v.Path(), "a path without objects is a mistake and removes nothing", "remove the target with onRemove: destroy when all of it is to go")
	}
	if r := p.At("retry"); r.Has() {
		r.Ignore()
		c.out.Differs(a.Object, r.Path(), "a failed run is tried again after 5s at first, up to 10m", "limits.retryMin and retryMax set other times, for the whole server")
	}
	if m := p.At("managedNamespaceMetadata"); m.Has() {
		m.Ignore()
		c.out.Lost(a.Object, m.Path(), "a namespace is an object of its own", "put a Namespace object for "+a.namespace+" with these labels and annotations into Git")
	}
	for _, o := range p.At("syncOptions").Items() {
		if o.Text() == "CreateNamespace=true" {
			out.createNamespace = a.namespace != ""
			continue
		}
		if o.Text() == "Prune=false" || o.Text() == "Prune=confirm" {
			out.mode = "addOnly" // what must not be pruned, or not unasked
		}
		c.syncOption(a, o)
	}
	return out
}

// options are sync options, by what they mean to trueup; those that are always
// so are not told.
var options = map[string]struct{ kind, why, do string }{
	"Validate=false":             {handover.Lost, "the API server always checks an object", "mend objects that it refuses"},
	"Replace=true":               {handover.Lost, "objects are never replaced without the operator's leave", "allow it for kinds with connect.recreate, or for objects with the annotation trueup.dev/recreate: allowed"},
	"Force=true":                 {handover.Lost, "objects are never replaced without the operator's leave", "allow it for kinds with connect.recreate, or for objects with the annotation trueup.dev/recreate: allowed"},
	"PruneLast=true":             {handover.Differs, "what is pruned goes after what is applied", "nothing"},
	"ApplyOutOfSyncOnly=true":    {handover.Differs, "only what differs is ever applied", "nothing"},
	"Prune=confirm":              {handover.Lost, "it is said of each object; the target has mode: addOnly, and prunes nothing", "annotate objects with trueup.dev/prune: confirm, then remove mode"},
	"Delete=confirm":             {handover.Lost, "a target that leaves Git leaves its objects where they are", "nothing"},
	"Delete=false":               {handover.Lost, "a target that leaves Git leaves its objects where they are", "nothing"},
	"Prune=false":                {handover.Differs, "the target has mode: addOnly, and prunes nothing", "nothing"},
	"FailOnSharedResource=false": {handover.Differs, "an object that another target owns is never taken", "keep each object in one target"},
}

// always are options that say what trueup does anyway.
var always = []string{"ServerSideApply=true", "RespectIgnoreDifferences=true", "FailOnSharedResource=true", "SkipDryRunOnMissingResource=true", "Validate=true", "CreateNamespace=false",
	"PruneLast=false", "ApplyOutOfSyncOnly=false", "Replace=false", "Force=false", "PrunePropagationPolicy=foreground"}

func (c *converter) syncOption(a *app, f *handover.Fields) {
	text := f.Text()
	for _, o := range always {
		if strings.EqualFold(o, text) {
			return
		}
	}
	if o, ok := options[text]; ok {
		if o.kind == handover.Lost {
			c.out.Lost(a.Object, f.Path()+" "+text, o.why, o.do)
		} else {
			c.out.Differs(a.Object, f.Path()+" "+text, o.why, o.do)
		}
		return
	}
	switch {
	case strings.HasPrefix(text, "PrunePropagationPolicy="):
		c.out.Lost(a.Object, f.Path()+" "+text, "it is said of each object", "annotate objects with trueup.dev/delete-propagation: "+strings.TrimPrefix(text, "PrunePropagationPolicy="))
	case text == "ServerSideApply=false":
		c.out.Differs(a.Object, f.Path()+" "+text, "objects are always applied by server-side apply", "nothing")
	default:
		c.out.Lost(a.Object, f.Path()+" "+text, "trueup's import does not know this option", "look at what it does there")
	}
}
