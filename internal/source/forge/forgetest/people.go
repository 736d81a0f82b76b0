package forgetest

import (
	"fmt"
	"slices"
	"time"

	"trueup.dev/trueup/internal/source/forge"
)

// Put opens a pull request, or brings it up to date; what is left out has a
// sensible value.
func (f *Forge) Put(p forge.PullRequest) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p.State == "" {
		p.State = "open"
	}
	if p.Base == "" {
		p.Base = "main"
	}
	if p.HeadProject == "" && !p.Fork {
		p.HeadProject = f.Project
	}
	if p.URL == "" {
		p.URL = fmt.Sprintf("%s/pulls/%d", f.Info().WebURL, p.Number)
	}
	p.UpdatedAt = f.now()
	f.pulls[p.Number] = &p
}

// Merge marks a pull request as merged.
func (f *Forge) Merge(number int, commit, by string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.pulls[number]
	p.State, p.MergeCommit, p.MergedBy, p.UpdatedAt = "merged", commit, by, f.now()
	f.merges[commit] = number
}

// Close closes a pull request unmerged.
func (f *Forge) Close(number int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pulls[number].State, f.pulls[number].UpdatedAt = "closed", f.now()
}

// Remove takes a pull request away, as an administrator may.
func (f *Forge) Remove(number int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.pulls, number)
}

// Comment writes a comment as somebody and gives its id.
func (f *Forge) Comment(number int, author, body string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.add(number, author, body, false).ID
}

// Amend changes a comment's text, as its author or whoever may write to the
// repository can.
func (f *Forge) Amend(number int, id, body string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.comments[number] {
		if c := &f.comments[number][i]; c.ID == id {
			c.Body, c.Edited = body, true
		}
	}
	f.pulls[number].UpdatedAt = f.now()
}

// Age makes a comment older.
func (f *Forge) Age(number int, id string, by time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.comments[number] {
		if c := &f.comments[number][i]; c.ID == id {
			c.At = c.At.Add(-by)
		}
	}
}

// Review records somebody's review of the head, in place of an earlier one.
func (f *Forge) Review(number int, user, state string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.pulls[number]
	p.UpdatedAt = f.now()
	f.reviews[number] = slices.DeleteFunc(f.reviews[number], func(r forge.Review) bool { return r.User == user })
	commit := p.HeadCommit
	if f.NoReviewCommits {
		commit = ""
	}
	f.reviews[number] = append(f.reviews[number], forge.Review{User: user, State: state, Commit: commit, At: f.now(),
		URL: fmt.Sprintf("%s/pulls/%d#review-%s", f.Info().WebURL, number, user)})
}

// Grant gives somebody a permission.
func (f *Forge) Grant(user string, p forge.Permission) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.roles[user] = p
}

// Team sets the members of a team.
func (f *Forge) Team(team string, users ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.teams[team] = users
}

// Own gives trueup's comments on a pull request.
func (f *Forge) Own(number int) []forge.Comment {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(f.comments[number]), func(c forge.Comment) bool { return !c.Own })
}

// Drop removes a comment, as a person may.
func (f *Forge) Drop(number int, id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.comments[number] = slices.DeleteFunc(f.comments[number], func(c forge.Comment) bool { return c.ID == id })
}

// Reactions gives the reactions to a comment.
func (f *Forge) Reactions(id string) []forge.Reaction {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.reacted[id])
}

// Statuses gives all statuses of a commit under a context, in their order.
func (f *Forge) Statuses(commit, context string) []forge.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(f.statuses), func(s forge.Status) bool { return s.Commit != commit || s.Context != context })
}

// Status gives the newest status of a commit under a context; the zero value
// when there is none.
func (f *Forge) Status(commit, context string) forge.Status {
	all := f.Statuses(commit, context)
	if len(all) == 0 {
		return forge.Status{}
	}
	return all[len(all)-1]
}

// Deployments gives what was deployed, in no order.
func (f *Forge) Deployments() []forge.Deployment {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []forge.Deployment
	for _, d := range f.deploys {
		out = append(out, d)
	}
	return out
}

// Annotations gives the findings of a commit under a name.
func (f *Forge) Annotations(commit, name string) []forge.Annotation {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.notes[commit+" "+name])
}

// Written gives all that trueup wrote as one text, to look for secrets in.
func (f *Forge) Written() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.text()
}
