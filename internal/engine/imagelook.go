package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/follow"
)

// asked keeps the answers of one round: targets often follow the same image.
type asked struct {
	lists   map[string]tagList
	digests map[string]tagDigest
	away    map[*config.Registry]error // that did not answer: they are not asked again
}

type tagList struct {
	tags []string
	err  error
}

type tagDigest struct {
	digest  string
	created time.Time
	err     error
}

// lookTime bounds the look at one image.
const lookTime = 2 * time.Minute

// look asks the registry about one image. What is not answered stays as it was.
func (r *imageRound) look(ctx context.Context, im config.Image, old seenImage) seenImage {
	now := old
	now.Tried, now.Error, now.Wait = r.e.clock(), "", time.Time{}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	reg := r.registryOf(im)
	err := r.asked.away[reg]
	if err == nil {
		err = r.newest(ctx, im, &now)
	}
	if err != nil {
		if reg != nil && errors.Is(err, driver.ErrUnreachable) {
			if r.asked.away == nil {
				r.asked.away = map[*config.Registry]error{}
			}
			r.asked.away[reg] = err
		}
		now = old
		now.Tried, now.Error, now.Wait = r.e.clock(), err.Error(), time.Time{}
		var limited interface{ RetryAt() time.Time }
		if errors.As(err, &limited) {
			now.Wait = limited.RetryAt()
		}
		return now
	}
	now.Looked = now.Tried
	if now.Tag != old.Tag || now.Digest != old.Digest {
		now.Since = now.Tried
	}
	switch {
	case now.Tag != old.Tag:
		now.Moved = ""
	case old.Digest != "" && now.Digest != old.Digest:
		now.Moved = fmt.Sprintf("%s stood for %s until %s", now.Tag, old.Digest, now.Tried.UTC().Format(time.RFC3339))
	}
	return now
}

func (r *imageRound) newest(ctx context.Context, im config.Image, now *seenImage) error {
	picker, err := follow.New(im.Rule())
	if err != nil {
		return err
	}
	regs, err := r.e.versions.get(r.repo)
	if err != nil {
		return err
	}
	tags := []string{im.Follow.Tag}
	if im.Follow.Tag == "" {
		if tags, err = r.list(ctx, regs, im); err != nil {
			return err
		}
	}
	now.Tags = len(tags)
	was, digest := now.Tag, now.Digest
	if now.Tag, now.Fit = picker.Newest(tags); now.Tag == "" {
		now.Digest, now.Created = "", time.Time{}
		return nil
	}
	known := was == now.Tag && !now.Created.IsZero()
	found := r.resolve(ctx, regs, im, now.Tag, digest, known)
	if found.err != nil {
		return found.err
	}
	now.Digest = found.digest
	if !known || found.digest != digest {
		now.Created = found.created
	}
	return nil
}

// list gives all tags or versions.
func (r *imageRound) list(ctx context.Context, regs Registries, im config.Image) ([]string, error) {
	if l, ok := r.asked.lists[im.Name()]; ok {
		return l.tags, l.err
	}
	var l tagList
	if im.Chart != nil {
		l.tags, l.err = regs.ChartVersions(ctx, im.Chart.Repository, im.Chart.Name)
	} else {
		l.tags, l.err = regs.Tags(ctx, im.URL())
	}
	if r.asked.lists == nil {
		r.asked.lists = map[string]tagList{}
	}
	r.asked.lists[im.Name()] = l
	return l.tags, l.err
}

// resolve gives the digest of a tag, and, unless that is known, when it was
// made. The latter is for people: it is no reason to fail.
func (r *imageRound) resolve(ctx context.Context, regs Registries, im config.Image, tag, have string, known bool) tagDigest {
	key := im.Name() + "\n" + tag
	if d, ok := r.asked.digests[key]; ok && (known || !d.created.IsZero()) {
		return d
	}
	var d tagDigest
	if im.Chart != nil {
		d.digest, d.created, d.err = regs.ChartVersion(ctx, im.Chart.Repository, im.Chart.Name, tag)
	} else {
		if d.digest, d.err = regs.Digest(ctx, im.URL(), tag); d.err == nil && (!known || d.digest != have) {
			d.created, _ = regs.Created(ctx, im.URL(), d.digest)
		}
	}
	if r.asked.digests == nil {
		r.asked.digests = map[string]tagDigest{}
	}
	r.asked.digests[key] = d
	return d
}

// ruleText words a rule.
func ruleText(im config.Image) string {
	f := im.Follow
	switch {
	case f.Tag != "":
		return "tag " + f.Tag
	case f.Semver != "" && f.Regexp != "":
		return fmt.Sprintf("semver %s in %s", f.Semver, f.Regexp)
	case f.Semver != "":
		return "semver " + f.Semver
	}
	return cmp.Or(f.Order, follow.Alphabetical) + " " + f.Regexp
}
