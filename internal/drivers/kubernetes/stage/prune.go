package stage

import (
	"trueup.dev/trueup/internal/plan"
)

// Spare takes a planned removal back where an annotation says so: on the live
// object or on it as it was last applied, for either may be the newer word. A
// deletion becomes a forget, or is held until somebody approves this plan; so
// is a replacement or a rename, which delete as well.
func Spare(c *plan.Change, seen ...Marks) {
	var keep, confirm string
	for _, m := range seen {
		if keep == "" {
			keep = m.Keep
		}
		if confirm == "" {
			confirm = m.Confirm
		}
	}
	switch {
	case c.Action == plan.Delete && keep != "":
		c.Action, c.Impact, c.Conflict = plan.Forget, nil, ""
		c.Note = "it stays in the cluster and is given up (" + keep + ")"
	case c.Action == plan.Delete && confirm != "":
		Hold(c, "its deletion has to be confirmed ("+confirm+")")
	case (c.Action == plan.Replace || c.Action == plan.Rename) && keep != "":
		Hold(c, "it would be deleted and created anew, although it says "+keep)
	case (c.Action == plan.Replace || c.Action == plan.Rename) && confirm != "":
		Hold(c, "it would be deleted and created anew, which has to be confirmed ("+confirm+")")
	}
}

// Hold holds a change until somebody approves the plan.
func Hold(c *plan.Change, why string) {
	if c.Conflict != "" {
		why = c.Conflict + "; " + why
	}
	c.Conflict = why
}
