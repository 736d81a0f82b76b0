package audit

import (
	"cmp"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/store"
)

// Row is one record for people: a line of a table.
//
//house:exception the columns of a table
type Row struct {
	Seq         int64
	At          time.Time
	Kind        string
	Actor       string
	Target      string
	Environment string
	Run         string
	State       string
	Commit      string
	Changes     string
	RestsOn     string
	Proposed    string
	Approved    string // whose approval counted
	Reviewed    string // who approved on the forge, counted or not
	Merged      string
	Request     string // the pull request, with its title
	RequestURL  string
	CommitURL   string
	Reason      string
	Hash        string
}

// RowOf flattens an event.
func RowOf(e store.Event) Row {
	r := Row{Seq: e.Seq, At: e.At, Kind: e.Kind, Actor: string(e.Actor), Target: e.Target, Run: e.Run, Hash: e.Hash}
	switch e.Kind {
	case RunFinished:
		var d RunData
		if json.Unmarshal(e.Data, &d) == nil {
			r.run(d.Run)
		}
	case Approval, Rejection:
		var d ApprovalData
		if json.Unmarshal(e.Data, &d) == nil {
			r.Environment, r.Reason, r.RequestURL = d.Environment, d.Reason, d.URL
			r.State = "plan " + short(d.PlanHash)
			if r.Approved = (store.Party{Login: d.Login, Actor: d.Actor}).String(); !d.Approved {
				r.Approved = ""
			}
		}
	default:
		r.other(e.Data)
	}
	return r
}

func (r *Row) run(x store.Run) {
	r.Environment, r.State, r.Commit, r.RestsOn, r.Reason = x.Environment, string(x.State), x.Commit, x.Approval, x.Error
	r.Changes = counts(x.Summary)
	if x.Gate != "" {
		r.State += " by " + x.Gate
	}
	if who, ok := strings.CutPrefix(x.Approval, "approved by "); ok {
		r.Approved = who
	}
	o := x.Origin
	if o == nil {
		return
	}
	r.Proposed, r.Reviewed, r.Merged = o.Proposed.String(), strings.Join(o.Approvers(), "; "), o.Merged.String()
	r.Request, r.RequestURL, r.CommitURL = o.Request(), o.URL, o.CommitURL
	if r.Request != "" && o.Title != "" {
		r.Request += " " + o.Title
	}
}

// other takes what events commonly have in their data.
func (r *Row) other(data json.RawMessage) {
	var d map[string]any
	if json.Unmarshal(data, &d) != nil {
		return
	}
	text := func(name string) string {
		s, _ := d[name].(string)
		delete(d, name)
		return s
	}
	r.Environment, r.Commit, r.Reason, r.RequestURL = text("environment"), text("commit"), text("reason"), text("url")
	var more []string
	for _, k := range slices.Sorted(maps.Keys(d)) {
		if s := fmt.Sprint(d[k]); s != "" && s != "<nil>" {
			more = append(more, k+"="+s)
		}
	}
	r.State = strings.Join(more, " ")
}

func counts(s plan.Summary) string {
	var parts []string
	for _, a := range slices.Sorted(maps.Keys(s)) {
		parts = append(parts, fmt.Sprintf("%d %s", s[a], a))
	}
	return strings.Join(parts, ", ")
}

func short(hash string) string { return hash[:min(12, len(hash))] }

// Rows turns records into rows. A run's start is left out, and of a run that
// was amended after its end only the last word stays.
func Rows(records []Record) []Row {
	last := map[string]int64{}
	for _, r := range records {
		if r.Kind == RunFinished {
			last[r.Run] = r.Seq
		}
	}
	var out []Row
	for _, r := range records {
		if r.Kind == "run.started" || r.Kind == RunFinished && last[r.Run] != r.Seq {
			continue
		}
		out = append(out, RowOf(r.Event))
	}
	return out
}

var csvHead = []string{"seq", "time", "kind", "actor", "target", "environment", "run", "state", "commit", "changes", "rests on",
	"proposed by", "approved by", "reviewed by", "merged by", "request", "request url", "commit url", "reason", "hash"}

// CSV writes rows for spreadsheets. A cell that one would take for a formula
// gets an apostrophe in front.
func CSV(w io.Writer, rows []Row) error {
	c := csv.NewWriter(w)
	if err := c.Write(csvHead); err != nil {
		return err
	}
	for _, r := range rows {
		line := []string{fmt.Sprint(r.Seq), r.At.UTC().Format(time.RFC3339Nano), r.Kind, r.Actor, r.Target, r.Environment, r.Run, r.State, r.Commit,
			r.Changes, r.RestsOn, r.Proposed, r.Approved, r.Reviewed, r.Merged, r.Request, r.RequestURL, r.CommitURL, r.Reason, r.Hash}
		for i := range line {
			line[i] = cell(line[i])
		}
		if err := c.Write(line); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

// cell takes the power from what a spreadsheet would run, wherever it may
// begin to read: at the cell's start or behind white space and line breaks.
func cell(text string) string {
	text = strings.Map(func(r rune) rune {
		if r == '\r' || r == '\n' || r == '\t' {
			return ' '
		}
		return r
	}, text)
	trimmed := strings.TrimLeft(text, " \u00a0\ufeff")
	if trimmed != "" && strings.ContainsRune("=+-@|%＝＋－＠", firstRune(trimmed)) {
		return "'" + text
	}
	return text
}

func firstRune(s string) rune {
	for _, r := range s {
		return r
	}
	return 0
}

// Who says in a cell of a table who proposed, approved and merged.
func (r Row) Who() string {
	var parts []string
	for _, p := range [][2]string{{"proposed", r.Proposed}, {"approved", r.Approved}, {"merged", r.Merged}} {
		if p[1] != "" {
			parts = append(parts, p[0]+" by "+p[1])
		}
	}
	return cmp.Or(strings.Join(parts, ", "), r.RestsOn)
}
