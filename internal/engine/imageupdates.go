package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"trueup.dev/trueup/internal/edit"
	"trueup.dev/trueup/internal/store"
)

// update is what is kept of the proposals for one target, or for one group of
// images: one pull request at a time.
type update struct {
	// Wants are the values that the pull request holds, by place.
	Wants map[string]string `json:"wants,omitempty"`
	// Merged are those that Git had, and Refused those that somebody decided
	// against: they are not proposed again.
	Merged  map[string]string `json:"merged,omitempty"`
	Refused map[string]string `json:"refused,omitempty"`
	// Idle is since when nothing is left to propose, while a proposal stands.
	Idle time.Time `json:"idle,omitzero"`
}

func updateOf(x store.Edit) update {
	u := update{Wants: map[string]string{}, Merged: map[string]string{}, Refused: map[string]string{}}
	_ = json.Unmarshal(x.Values, &u) // what can't be read is proposed anew
	return u
}

// groupKey stands for a group where a target's id stands otherwise.
func groupKey(repository, group string) string { return repository + "/+" + group }

// updates proposes the newest versions that were seen.
func (p *proposer) updates(ctx context.Context) error {
	groups := map[string][]imageSpot{}
	for _, id := range sortedKeys(p.index.targets) {
		res := p.index.targets[id]
		seen := seenOf(p.edits[store.SeenVersions][id])
		for _, im := range res.Images {
			key := id
			if im.Group != "" {
				key = groupKey(p.repo, im.Group)
			}
			groups[key] = append(groups[key], imageSpot{res: res, im: im, seen: seen[entryOf(im)]})
		}
	}
	var errs []error
	claimed := map[string]claimedPlace{}
	for _, key := range sortedKeys(groups) {
		errs = append(errs, p.told(ctx, store.VersionUpdate, key, p.update(ctx, key, groups[key], claimed)))
	}
	for _, key := range sortedKeys(p.edits[store.VersionUpdate]) {
		if groups[key] == nil {
			errs = append(errs, p.withdraw(ctx, p.edits[store.VersionUpdate][key], update{})) // followed no more
		}
	}
	return errors.Join(errs...)
}

// update brings one pull request to what was seen. One image that can't be
// read does not keep the others of a group back.
func (p *proposer) update(ctx context.Context, key string, spots []imageSpot, claimed map[string]claimedPlace) error {
	rec := p.edits[store.VersionUpdate][key]
	fresh := false
	for _, s := range spots {
		fresh = fresh || !s.seen.Looked.IsZero()
	}
	if !fresh && rec.Kind == "" {
		return nil // no registry has answered yet
	}
	g, err := p.ground(ctx)
	if err != nil {
		return err
	}
	var found []compared
	var errs []error
	for _, s := range spots {
		f, err := s.compare(ctx, g)
		if err == nil {
			err = claim(claimed, key, &f)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		found = append(found, f)
	}
	if rec.Kind == "" {
		rec = store.Edit{Kind: store.VersionUpdate, Target: key, Repository: p.repo}
	}
	if err := p.bring(ctx, g, rec, found, len(errs) == 0); err != nil {
		errs = append(errs, err)
	}
	if rec, ok := p.edits[store.VersionUpdate][key]; ok && len(errs) == 0 && rec.Error != "" {
		if rec.Error = ""; rec.State == "" {
			return p.drop(ctx, rec)
		}
		return p.put(ctx, rec)
	}
	return errors.Join(errs...)
}

// claimedPlace is what is written to a place, and by which proposal.
type claimedPlace struct{ text, key string }

// claim leaves each place to the first who writes there: targets of several
// environments share their files. Two images at one place are a mistake, and
// so is a place of which another proposal holds a part.
func claim(claimed map[string]claimedPlace, key string, f *compared) error {
	var kept []edit.Change
	for _, c := range f.Changes {
		if by, taken := claimed[placeOf(c)]; !taken {
			kept = append(kept, c)
		} else if by.text != c.To.Text {
			return fmt.Errorf("%s: another image is written to the same place", c.Place)
		}
	}
	for _, c := range f.Changes {
		by, taken := claimed[placeOf(c)]
		if taken && by.key != key && len(kept) > 0 {
			return fmt.Errorf("%s: %s is written there, too; give both the same group", c.Place, by.key)
		}
		if !taken {
			claimed[placeOf(c)] = claimedPlace{c.To.Text, key}
		}
	}
	f.Changes = kept
	return nil
}

// bring proposes what is left after what people have decided. Only what is
// known whole is ever taken back.
func (p *proposer) bring(ctx context.Context, g *ground, rec store.Edit, found []compared, whole bool) error {
	u := updateOf(rec)
	if wait, err := p.fate(ctx, &rec, &u, found); err != nil || wait {
		return err
	}
	var changes []edit.Change
	wants := map[string]string{}
	for i := range found {
		f := &found[i]
		// A tag without its digest is no version: an image is taken whole.
		if slices.ContainsFunc(f.Changes, func(c edit.Change) bool { return u.Refused[placeOf(c)] == c.To.Text }) {
			f.Changes = nil
		}
		for _, c := range f.Changes {
			wants[placeOf(c)] = c.To.Text
		}
		changes = append(changes, f.Changes...)
		whole = whole && f.State != edit.FollowedUnknown
	}
	standing := rec.State == store.EditProposed || rec.State == store.EditPushed
	switch {
	case len(changes) == 0 && !whole:
		return nil
	case len(changes) == 0:
		return p.settle(ctx, rec, u, found)
	case standing && maps.Equal(wants, u.Wants):
		p.wake(p.e.clock().Add(lookAgain))
		if current, err := g.current(ctx, rec.Branch, changes); err != nil || current {
			return err
		}
	}
	u.Wants, u.Idle = wants, time.Time{}
	return p.proposeUpdate(ctx, g, rec, u, found)
}

// settle ends a proposal of which nothing is left. The forge may not have
// recorded a merge yet whose commit it has pushed already.
func (p *proposer) settle(ctx context.Context, rec store.Edit, u update, found []compared) error {
	if rec.State != store.EditProposed && rec.State != store.EditPushed {
		return nil
	}
	if now := p.e.clock(); rec.State == store.EditProposed && (u.Idle.IsZero() || now.Sub(u.Idle) < idleBefore) {
		if u.Idle.IsZero() {
			u.Idle = now
		}
		p.wake(u.Idle.Add(idleBefore))
		return p.keep(ctx, &rec, u)
	}
	for _, f := range found {
		for place, text := range f.has {
			if u.Wants[place] == text {
				u.Merged[place] = text
			}
		}
	}
	return p.withdraw(ctx, rec, u)
}

// idleBefore is how long nothing must be left of a proposal before it is taken
// back.
const idleBefore = time.Minute

// fate looks at what became of the last proposal. It tells to wait when Git
// and the forge do not agree yet.
func (p *proposer) fate(ctx context.Context, rec *store.Edit, u *update, found []compared) (wait bool, err error) {
	switch rec.State {
	case store.EditProposed:
		state, err := p.pullState(ctx, rec.Number)
		if err != nil {
			return false, err
		}
		switch state {
		case "closed":
			maps.Copy(u.Refused, u.Wants)
			u.Wants, rec.State = nil, store.EditRefused
			return false, errors.Join(p.keep(ctx, rec, *u), p.e.event(ctx, "system:images", "images.refused", p.subject(rec), "", map[string]any{"url": rec.URL}))
		case "merged":
			maps.Copy(u.Merged, u.Wants)
			u.Wants, rec.State = nil, store.EditMerged
			p.wake(p.e.clock().Add(time.Minute)) // what was fetched may be older than the merge
			return true, p.keep(ctx, rec, *u)
		}
	case store.EditMerged, store.EditRefused:
		// Git had these values and has others now: somebody decided so.
		back := false
		for _, f := range found {
			for _, c := range f.Changes {
				if place := placeOf(c); u.Merged[place] == c.To.Text && u.Refused[place] != c.To.Text {
					u.Refused[place], back = c.To.Text, true
				}
			}
		}
		if back {
			return false, errors.Join(p.keep(ctx, rec, *u), p.e.event(ctx, "system:images", "images.refused", p.subject(rec), "", map[string]any{"url": rec.URL, "reverted": true}))
		}
	}
	return false, nil
}

// subject is the target of a record, "" for a group's.
func (p *proposer) subject(rec *store.Edit) string {
	if _, ok := p.index.targets[rec.Target]; ok {
		return rec.Target
	}
	return ""
}

func (p *proposer) keep(ctx context.Context, rec *store.Edit, u update) error {
	body, err := json.Marshal(u)
	if err != nil {
		return err
	}
	rec.Values, rec.Digest = body, digestOf(body)
	return p.put(ctx, *rec)
}

// proposeUpdate opens the pull request or brings it up to date.
func (p *proposer) proposeUpdate(ctx context.Context, g *ground, rec store.Edit, u update, found []compared) error {
	w, err := p.e.propose(ctx, g, updateDraft(p.repo, rec.Target, found))
	if err != nil {
		return err
	}
	was := rec.Commit
	rec.State, rec.Since, rec.Branch, rec.Commit, rec.Number, rec.URL = store.EditProposed, p.e.clock(), w.Branch, w.Commit, w.Number, w.URL
	if w.Number == 0 {
		rec.State = store.EditPushed
	}
	p.wake(p.e.clock().Add(lookAgain))
	if err := p.keep(ctx, &rec, u); err != nil || was == w.Commit {
		return err
	}
	var updates []map[string]string
	for _, f := range found {
		if len(f.Changes) > 0 {
			updates = append(updates, map[string]string{"target": f.Target, "image": f.Image, "from": f.InUse, "to": f.Newest, "digest": f.Digest})
		}
	}
	return p.e.event(ctx, "system:images", "images.proposed", p.subject(&rec), "", map[string]any{"url": w.URL, "branch": w.Branch, "commit": w.Commit, "updates": updates})
}

// withdraw takes a proposal back and keeps what people decided.
func (p *proposer) withdraw(ctx context.Context, rec store.Edit, u update) error {
	if rec.State == store.EditProposed || rec.State == store.EditPushed {
		if err := p.takeBack(ctx, &rec); err != nil {
			return err
		}
	}
	if len(u.Merged)+len(u.Refused) == 0 {
		return p.drop(ctx, rec)
	}
	u.Wants, u.Idle, rec.State = nil, time.Time{}, store.EditMerged
	rec.Branch, rec.Number, rec.URL, rec.Commit = "", 0, "", ""
	return p.keep(ctx, &rec, u)
}

// takeBack removes the branch of a proposal and says why.
func (p *proposer) takeBack(ctx context.Context, rec *store.Edit) error {
	g, err := p.ground(ctx)
	if err != nil {
		return err
	}
	state := "open"
	if rec.Number != 0 {
		if state, err = p.pullState(ctx, rec.Number); err != nil {
			return err
		}
	}
	if at, err := g.ours(ctx, rec.Branch); err == nil && at != "" {
		if err := g.mirror.DropBranch(ctx, rec.Branch, at); err != nil {
			return err
		}
	}
	if state != "open" || rec.Number == 0 {
		return nil
	}
	f, err := p.e.Forge(ctx, p.repo)
	if err != nil {
		return err
	}
	_, err = f.Add(ctx, rec.Number, "There is nothing left to update here: the repository has these versions, or follows them no more. The branch is removed.")
	return err
}

// updateDraft words the pull request.
func updateDraft(repository, key string, found []compared) draft {
	_, name, _ := strings.Cut(key, "/")
	d := draft{branch: ownBranches + "images/" + branchPart(name), labels: []string{"trueup"}, trailers: []string{"Trueup-Images: " + key}}
	if group, ok := strings.CutPrefix(key, groupKey(repository, "")); ok {
		d.branch = ownBranches + "images/group/" + branchPart(group)
		name = "group " + group
	}
	var b strings.Builder
	b.WriteString("Newer versions are there, as `images` in trueup.yaml follows them.\n\n| Target | Image | Now | Then | Digest | Made |\n| --- | --- | --- | --- | --- | --- |\n")
	var updated, notes []string
	for _, f := range found {
		if len(f.Changes) == 0 {
			continue
		}
		made := "seen " + f.Seen.UTC().Format(time.DateOnly)
		if !f.Created.IsZero() {
			made = f.Created.UTC().Format(time.DateTime)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", cell(f.Target), cell(f.Image), cell(f.InUse), cell(f.Newest), cell(f.Digest), made)
		updated = append(updated, oneLine(f.Image)+" to "+oneLine(f.Newest))
		d.trailers = append(d.trailers, fmt.Sprintf("Trueup-Image: %s %s@%s", oneLine(f.Image), oneLine(f.Newest), f.Digest))
		for _, n := range f.Notes {
			notes = append(notes, fmt.Sprintf("- %s: %s", cell(f.Image), oneLine(n)))
		}
		d.changes = append(d.changes, f.Changes...)
	}
	if len(notes) > 0 {
		b.WriteString("\n" + strings.Join(notes, "\n") + "\n")
	}
	b.WriteString("\nThe text and the branch follow what is newest. Once it is merged the change is planned, gated and applied like any other. Closing it means no: these versions are not proposed again, newer ones are.\n")
	d.body = b.String()
	d.subject = fmt.Sprintf("Update %d images in %s", len(updated), name)
	if len(updated) == 1 {
		d.subject = fmt.Sprintf("Update %s in %s", updated[0], name)
	}
	return d
}
