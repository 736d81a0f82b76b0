package engine

import (
	"context"
	"fmt"
	"strings"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/edit"
	"trueup.dev/trueup/internal/follow"
)

// imageSpot is one image of one target, with what its registry told.
type imageSpot struct {
	res  *config.Resolved
	im   config.Image
	seen seenImage
}

// placed is a field as it stands in Git.
type placed struct {
	place edit.Field
	have  edit.Value
	ref   follow.Reference
	form  follow.Form
}

// compared is what came of comparing one image with Git.
type compared struct {
	edit.Followed
	has map[string]string // the values in Git, by place
}

// compare reads what is in use and says what would have to change for the
// newest that was seen. Nothing is ever taken back to an older version.
func (s imageSpot) compare(ctx context.Context, g *ground) (compared, error) {
	f := compared{has: map[string]string{}, Followed: s.shown()}
	fields, err := s.read(ctx, g)
	if err != nil {
		return f, err
	}
	for _, p := range fields {
		f.has[placeName(p.place)] = p.have.Text
	}
	f.InUse = inUse(fields)
	if s.seen.Moved != "" {
		f.Notes = append(f.Notes, s.seen.Moved)
	}
	switch {
	case s.seen.Looked.IsZero():
		return f, nil
	case s.seen.Tag == "":
		f.State = edit.FollowedNone
		f.Notes = append(f.Notes, fmt.Sprintf("none of the %d tags fits", s.seen.Tags))
		return f, nil
	}
	picker, err := follow.New(s.im.Rule())
	if err != nil {
		return f, err
	}
	write, state, note := s.decide(picker, fields)
	if f.State = state; note != "" {
		f.Notes = append(f.Notes, note)
	}
	if write {
		f.Changes, err = s.changes(fields)
	}
	if err == nil && len(f.Changes) == 0 && f.State == edit.FollowedUpdate {
		f.State = edit.FollowedCurrent
	}
	return f, err
}

// shown is what the registry told.
func (s imageSpot) shown() edit.Followed {
	return edit.Followed{Target: s.res.ID, Environment: s.res.Environment, Image: s.im.Name(), Rule: ruleText(s.im), Group: s.im.Group,
		Newest: s.seen.Tag, Digest: s.seen.Digest, Created: s.seen.Created, Seen: s.seen.Since, Looked: s.seen.Looked, State: edit.FollowedUnknown, Error: s.seen.Error}
}

// read finds the fields in Git.
func (s imageSpot) read(ctx context.Context, g *ground) ([]placed, error) {
	var out []placed
	for _, f := range s.im.Fields {
		place, have, err := g.read(ctx, g.head, s.res.Path, f.Place())
		if err != nil {
			return nil, fmt.Errorf("in %s at %.8s: %w", s.res.ID, g.head, err)
		}
		p := placed{place: place, have: have, form: f.Form()}
		if p.ref, err = p.form.Read(have.Text); err != nil {
			return nil, fmt.Errorf("%s: %w", place, err)
		}
		if p.form.HasImage() && !follow.SameImage(p.ref.Image, s.im.Name()) {
			return nil, fmt.Errorf("%s holds the image %.200q, not %s", place, p.ref.Image, s.im.Name())
		}
		out = append(out, p)
	}
	return out, nil
}

// inUse is the tag that stands in Git, or the digest where there is no tag.
func inUse(fields []placed) string {
	digest := ""
	for _, p := range fields {
		if p.form.HasTag() && p.ref.Tag != "" {
			return p.ref.Tag
		}
		if p.ref.Digest != "" {
			digest = p.ref.Digest
		}
	}
	return digest
}

// decide tells whether the fields are to be written.
func (s imageSpot) decide(picker *follow.Picker, fields []placed) (write bool, state, note string) {
	if s.im.Follow.Tag != "" {
		return true, edit.FollowedUpdate, ""
	}
	var newer, odd, moved, lacks bool
	for _, p := range fields {
		if p.form.HasTag() {
			switch picker.Compare(s.seen.Tag, p.ref.Tag) {
			case follow.Older:
				return false, edit.FollowedNewer, fmt.Sprintf("%s is in use, which is newer than %s", p.ref.Tag, s.seen.Tag)
			case follow.Newer:
				newer = true
			case follow.Unknown:
				newer, odd = true, true
			case follow.Same:
				if p.ref.Tag != s.seen.Tag {
					return false, edit.FollowedCurrent, fmt.Sprintf("%s is in use, another name of %s", p.ref.Tag, s.seen.Tag)
				}
			}
		}
		if p.form.HasDigest() {
			lacks = lacks || !strings.HasPrefix(p.ref.Digest, "sha256:")
			moved = moved || p.ref.Digest != s.seen.Digest
		}
	}
	switch {
	case odd:
		return true, edit.FollowedUpdate, fmt.Sprintf("what is in use (%.100q) is not of the form that can be compared", inUse(fields))
	case newer || lacks:
		return true, edit.FollowedUpdate, ""
	case moved:
		return false, edit.FollowedCurrent, fmt.Sprintf("%s stands for %s now, which is not the digest in Git; it is left as it is", s.seen.Tag, s.seen.Digest)
	}
	return false, edit.FollowedCurrent, ""
}

func (s imageSpot) changes(fields []placed) ([]edit.Change, error) {
	var out []edit.Change
	for _, p := range fields {
		ref := p.ref
		ref.Tag, ref.Digest = s.seen.Tag, s.seen.Digest
		text, err := p.form.Write(ref)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.im.Name(), err)
		}
		want := edit.Value{Text: text, Kind: edit.String}
		if !p.have.Equal(want) {
			out = append(out, edit.Change{Target: s.res.ID, Field: s.im.Name() + " " + string(p.form), File: p.place.File, From: p.have, To: want, Place: p.place})
		}
	}
	return out, nil
}

// placeName names a place in the repository.
func placeName(f edit.Field) string { return fmt.Sprintf("%s#%d", f, f.Document) }

func placeOf(c edit.Change) string { return placeName(c.Place) }
