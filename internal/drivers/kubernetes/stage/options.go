package stage

import "strings"

// optionKind is what is done with one of Argo CD's sync options.
type option struct {
	apply func(r *reader, text string)
	warn  string // why it has no effect; "" needs no word
}

// options are those that an object can have, lower case.
//
// Source: https://argo-cd.readthedocs.io/en/stable/user-guide/sync-options/
var options = map[string]option{
	"prune=false":    {apply: func(r *reader, s string) { r.held(s, false) }},
	"delete=false":   {apply: func(r *reader, s string) { r.held(s, false) }},
	"prune=confirm":  {apply: func(r *reader, s string) { r.held(s, true) }},
	"delete=confirm": {apply: func(r *reader, s string) { r.held(s, true) }},
	"force=true": {apply: func(r *reader, s string) {
		if r.Recreate == "" {
			r.Recreate = s
		}
	}},
	"replace=true":          {warn: "objects are applied on the server's side, which has no limit of size; fields that others set stay"},
	"validate=false":        {warn: "the API server itself refuses fields that it does not know in a server-side apply"},
	"serversideapply=false": {warn: "everything is applied on the server's side"},
	// What is always so, and what says that nothing out of the ordinary is wanted.
	"skipdryrunonmissingresource=true": {}, "skipdryrunonmissingresource=false": {},
	"serversideapply=true": {}, "prunelast=true": {}, "prunelast=false": {}, "prune=true": {}, "delete=true": {},
	"applyoutofsynconly=true": {}, "applyoutofsynconly=false": {}, "respectignoredifferences=true": {},
	"failonsharedresource=true": {}, "replace=false": {}, "force=false": {}, "validate=true": {},
	"clientsideapplymigration=true": {}, "clientsideapplymigration=false": {},
}

func (r *reader) options() {
	for _, text := range strings.Split(r.get(argoOptions), ",") {
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		shown := argoOptions + ": " + text
		key := strings.ToLower(strings.Join(strings.Fields(text), ""))
		if p, ok := strings.CutPrefix(key, "prunepropagationpolicy="); ok && propagations[p] != "" {
			if r.Propagation == "" {
				r.Propagation = propagations[p]
			}
			continue
		}
		o, known := options[key]
		switch {
		case !known && (strings.HasPrefix(key, "prune=") || strings.HasPrefix(key, "delete=")):
			r.errorf(argoOptions, "", "%q is not known; false, true and confirm are", text)
			r.held(shown, true)
		case !known:
			r.warnf(argoOptions, "remove it", "the option %q is not known and has no effect", text)
		case o.warn != "":
			r.warnf(argoOptions, "remove it", "the option %q has no effect: %s", text, o.warn)
		case o.apply != nil:
			o.apply(r, shown)
		}
	}
}
