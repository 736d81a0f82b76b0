package render

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/plan"
)

// job is what a child is to do.
type job struct {
	Format                    Format
	Path                      string
	Spec                      []byte // JSON
	Values                    []byte // JSON; null where nobody gave any
	Capabilities              Capabilities
	Decrypt, Fetch, RemoteOff bool
	Release, Lookup           bool
	Moments                   []Moment
	Now                       time.Time
}

// ask is a question of a child's, or its last word.
type ask struct {
	Op     string // read, list, stat, decrypt, fetch, lookup, done
	Name   string
	Data   []byte
	Source Source
}

// answer is what the parent says to an ask.
type answer struct {
	Data    []byte
	Entries []dirEntry
	Dir     bool
	Size    int64
	// Err is the text of an error, Kind what it is: "missing", "outside" with
	// the line that would help, "limit", "refused", or "" for what no commit
	// can mend.
	Err, Kind, Line string
}

// serve gives a child its job and answers it until it is done.
func (c *child) serve(r *run, format Format) error {
	j, err := jobOf(r.in, format)
	if err != nil {
		return err
	}
	if err := c.enc.Encode(j); err != nil {
		return err
	}
	for {
		var a ask
		if err := c.dec.Decode(&a); err != nil {
			return err
		}
		if a.Op == "done" {
			return r.take(a.Data)
		}
		if err := c.enc.Encode(c.answer(r, a)); err != nil {
			return err
		}
	}
}

func jobOf(in Input, format Format) (*job, error) {
	spec, err := json.Marshal(in.Spec)
	if err != nil {
		return nil, fmt.Errorf("the target's spec: %w", err)
	}
	values, err := json.Marshal(in.Values)
	j := &job{Format: format, Path: in.Path, Spec: spec, Values: values, Capabilities: in.Capabilities,
		Decrypt: in.Decrypt != nil, Fetch: in.Fetch != nil, RemoteOff: !in.RemoteBases}
	if s := in.Release; s != nil {
		j.Release, j.Lookup, j.Moments, j.Now = true, s.Lookup != nil, s.Moments, s.Now
	}
	return j, err
}

// answer does what a child may ask for, and nothing else.
func (c *child) answer(r *run, a ask) (out answer) {
	var err error
	switch a.Op {
	case "read":
		out.Data, err = r.files.read(a.Name)
		out.Size = int64(len(out.Data))
	case "list":
		out.Entries, err = listDir(r.files.tree, a.Name)
	case "stat":
		out.Dir, _, err = statOf(r.files.tree, a.Name)
	case "decrypt":
		c.clock.pause()
		out.Data, err = r.in.Decrypt(r.ctx, a.Name, a.Data)
		c.clock.run()
		if err != nil && !errors.Is(err, driver.ErrUnreachable) && r.ctx.Err() == nil {
			return answer{Err: err.Error(), Kind: "refused"}
		}
	case "fetch":
		c.clock.pause()
		out.Data, err = r.in.Fetch(r.ctx, a.Source)
		c.clock.run()
	case "lookup":
		out.Data, err = r.lookedUp(a.Name)
	default:
		err = fmt.Errorf("the process that renders asked for %q", a.Op)
	}
	if err == nil {
		return out
	}
	out = answer{Err: err.Error()}
	var (
		o    outside
		odd  unusable
		much tooMuch
	)
	switch {
	case errors.As(err, &odd):
		out.Err, out.Kind = odd.Error(), "limit"
	case errors.As(err, &o):
		out.Err, out.Kind, out.Line = o.Error(), "outside", o.Line()
	case errors.Is(err, fs.ErrNotExist):
		out.Kind = "missing"
	case errors.As(err, &much):
		out.Err, out.Kind = much.Error(), "limit"
	case errors.Is(err, fs.ErrInvalid):
		out.Kind = "invalid"
	case c.failed == nil:
		c.failed = err
	}
	return out
}

// statOf tells whether a name is a directory.
func statOf(tree fs.FS, name string) (dir, ok bool, err error) {
	info, err := fs.Stat(tree, name)
	if err != nil {
		return false, false, err
	}
	return info.IsDir(), true, nil
}

// listDir lists a directory. Symbolic links are shown as what they lead to.
func listDir(tree fs.FS, name string) ([]dirEntry, error) {
	entries, err := fs.ReadDir(tree, name)
	if err != nil {
		return nil, err
	}
	out := make([]dirEntry, 0, len(entries))
	for _, e := range entries {
		d := dirEntry{N: e.Name(), D: e.IsDir(), L: e.Type()&fs.ModeSymlink != 0}
		out = append(out, d)
	}
	return out, nil
}

// sent is a result on its way from a child.
type sent struct {
	Objects     []sentObject     `json:"objects"`
	Values      []string         `json:"values"`
	Incomplete  []string         `json:"incomplete"`
	Diagnostics plan.Diagnostics `json:"diagnostics"`
	Release     *Releasable      `json:"release,omitempty"`
}

type sentObject struct {
	Object    map[string]any `json:"o"`
	Source    plan.Source    `json:"s"`
	Sensitive []string       `json:"x,omitempty"`
	Unknown   []string       `json:"u,omitempty"`
}

func (r *run) send() ([]byte, error) {
	res := r.result()
	s := sent{Values: res.Values, Incomplete: res.Incomplete, Diagnostics: res.Diagnostics, Release: res.Release}
	for i := range res.Objects {
		o := &res.Objects[i]
		s.Objects = append(s.Objects, sentObject{Object: o.Object, Source: o.Source, Sensitive: o.Sensitive, Unknown: o.Unknown})
	}
	return json.Marshal(s)
}

// take takes over what a child made.
func (r *run) take(data []byte) error {
	var s sent
	if err := decodeJSON(data, &s); err != nil {
		return fmt.Errorf("the process that renders gave no result: %w", err)
	}
	for _, o := range s.Objects {
		u := &unstructured.Unstructured{}
		u.Object, _ = numbers(o.Object).(map[string]any)
		r.out.Objects = append(r.out.Objects, manifest.Object{Unstructured: u, Source: o.Source, Sensitive: o.Sensitive, Unknown: o.Unknown})
	}
	if r.out.Release = s.Release; s.Release != nil {
		var err error
		if s.Release.Values, err = asHelm(s.Release.Values); err != nil {
			return err
		}
		s.Release.Hidden.known = s.Release.Hidden.secrets()
		s.Release.Hidden.known.scrub("") // ready for several readers
	}
	r.out.Diagnostics = append(r.out.Diagnostics, s.Diagnostics...)
	for _, n := range s.Incomplete {
		r.files.notes[n] = true
	}
	for _, v := range s.Values {
		r.values[v] = true
	}
	return nil
}
