package edit

import "time"

// Change is one value that is, or would be, written into a file.
type Change struct {
	Target string `json:"target"`
	Field  string `json:"field"` // as people call it
	File   string `json:"file"`
	From   Value  `json:"from"`
	To     Value  `json:"to"`
	Place  Field  `json:"-"`
}

// Written is what became of a change of files in one repository.
type Written struct {
	Repository string   `json:"repository"`
	Base       string   `json:"base"` // branch
	Branch     string   `json:"branch,omitempty"`
	Commit     string   `json:"commit,omitempty"`
	Changes    []Change `json:"changes"`
	Diff       string   `json:"diff,omitempty"`
	Number     int      `json:"number,omitempty"` // of the pull request
	URL        string   `json:"url,omitempty"`
	Notes      []string `json:"notes,omitempty"`
	// DryRun tells that nothing was written.
	DryRun bool `json:"dryRun,omitempty"`
}

// Promotion asks for the versions of one environment in another.
type Promotion struct {
	From   string   `json:"from"` // environments
	To     string   `json:"to"`
	Only   []string `json:"only,omitempty"` // names of targets, or globs; none is all
	Reason string   `json:"reason,omitempty"`
	DryRun bool     `json:"dryRun,omitempty"`
}

// Promotable is a target that takes versions over from another one.
type Promotable struct {
	Target      string `json:"target"`
	Environment string `json:"environment"`
	From        string `json:"from"` // target
	FromEnv     string `json:"fromEnvironment"`
	// Commit is the one that is verified and healthy in From: its versions
	// count, not those of a newer commit.
	Commit string    `json:"commit,omitempty"`
	Fields []Version `json:"fields"`
	Notes  []string  `json:"notes,omitempty"`
	Error  string    `json:"error,omitempty"`
	After  string    `json:"after,omitempty"` // the healthy period, where it goes by itself
	Auto   *Auto     `json:"auto,omitempty"`  // how far that is
}

// Version is one value of a Promotable, in both targets.
type Version struct {
	Name    string `json:"name"`
	File    string `json:"file"`
	Have    Value  `json:"have"`
	Want    Value  `json:"want"`
	Differs bool   `json:"differs"`
	Place   Field  `json:"-"`
}

// Auto is how far a promotion is that goes by itself.
type Auto struct {
	State string    `json:"state"` // waiting, proposed, pushed, refused
	Since time.Time `json:"since,omitzero"`
	URL   string    `json:"url,omitempty"`
	Error string    `json:"error,omitempty"`
}

// Changes lists what a promotion would change.
func (p *Promotable) Changes() []Change {
	var out []Change
	for _, f := range p.Fields {
		if f.Differs {
			out = append(out, Change{Target: p.Target, Field: f.Name, File: f.File, From: f.Have, To: f.Want, Place: f.Place})
		}
	}
	return out
}
