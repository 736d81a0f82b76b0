package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"sync"
	"time"

	"trueup.dev/trueup/internal/config"
	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/store"
)

// Registries reads the tags of images and the versions of charts.
type Registries interface {
	Tags(ctx context.Context, url string) ([]string, error)
	Digest(ctx context.Context, url, tag string) (string, error)
	Created(ctx context.Context, url, digest string) (time.Time, error)
	ChartVersions(ctx context.Context, url, name string) ([]string, error)
	ChartVersion(ctx context.Context, url, name, version string) (digest string, created time.Time, err error)
}

// OpenRegistries opens the registries that one repository may follow. One that
// is an io.Closer is closed.
type OpenRegistries func(all []*config.Registry, dir string, resolve func(context.Context, secret.Ref) (secret.Value, error)) (Registries, error)

// registryPool keeps the registries of each repository open: they remember
// tokens, and for how long they want to be left alone.
type registryPool struct {
	e  *Engine
	mu sync.Mutex
	m  map[string]Registries
}

func (p *registryPool) get(repository string) (Registries, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.m[repository]; r != nil {
		return r, nil
	}
	if p.e.registries == nil {
		return nil, errors.New("this process reads no registries")
	}
	cfg := p.e.cfg.Load()
	granted := cfg.RegistriesFor(repository)
	var all []*config.Registry
	for _, name := range sortedKeys(granted) {
		all = append(all, granted[name])
	}
	r, err := p.e.registries(all, cfg.Dir, p.e.resolvers.Resolve)
	if err != nil {
		return nil, err
	}
	if p.m == nil {
		p.m = map[string]Registries{}
	}
	p.m[repository] = r
	return r, nil
}

func (p *registryPool) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.m {
		if c, ok := r.(io.Closer); ok {
			_ = c.Close()
		}
	}
	p.m = nil
}

// seenImage is what a registry told about one image of a target.
type seenImage struct {
	Entry   string    `json:"entry"` // stands for what was asked
	Tag     string    `json:"tag,omitempty"`
	Digest  string    `json:"digest,omitempty"`
	Created time.Time `json:"created,omitzero"`
	Tags    int       `json:"tags,omitempty"` // there are
	Fit     int       `json:"fit,omitempty"`  // of them fit
	Since   time.Time `json:"since,omitzero"` // this tag with this digest was seen first
	Moved   string    `json:"moved,omitempty"`
	Looked  time.Time `json:"looked,omitzero"` // the registry answered
	Tried   time.Time `json:"tried,omitzero"`
	Wait    time.Time `json:"wait,omitzero"` // the registry wants to be left alone until then
	Error   string    `json:"error,omitempty"`
}

// entryOf stands for what is asked of a registry for an image.
func entryOf(im config.Image) string {
	im.Fields, im.Group = nil, ""
	body, err := json.Marshal(im)
	if err != nil {
		return ""
	}
	return digestOf(body)[:16]
}

// seenOf reads a target's record, by entry.
func seenOf(x store.Edit) map[string]seenImage {
	var list []seenImage
	out := map[string]seenImage{}
	if json.Unmarshal(x.Values, &list) == nil {
		for _, s := range list {
			out[s.Entry] = s
		}
	}
	return out
}

func imagesSlot(repository string) string { return "images:" + repository }

// wantImages asks for a look at what a repository follows.
func (e *Engine) wantImages(ctx context.Context, repository string, class store.Class, cause string, by store.Actor) error {
	return e.store.Trigger(ctx, store.Trigger{Kind: store.Images, Key: repository, Slot: imagesSlot(repository), Class: class, Cause: cause, Actor: by})
}

// imagesTime bounds one round of looks; what is left is for the next.
const imagesTime = 10 * time.Minute

// lookAtImages asks the registries for what is newest of all that a repository
// follows and is due. It only notes what it saw: proposing is other work.
func (e *Engine) lookAtImages(ctx context.Context, l store.Lease) store.Finish {
	done := store.Finish{Observed: l.Generation}
	if _, ok := e.cfg.Load().Repositories[l.Key]; !ok {
		done.Remove = true
		return done
	}
	ctx, cancel := context.WithTimeout(ctx, imagesTime)
	defer cancel()
	all := slices.ContainsFunc(l.Triggers, func(t store.TriggerRecord) bool { return t.Class == store.ByPerson })
	r := &imageRound{e: e, cfg: e.cfg.Load(), repo: l.Key, fence: l.Fence, all: all}
	if err := r.run(ctx); err != nil {
		e.log.Warn("the versions that a repository follows could not be looked at", "repository", l.Key, "error", err)
		done.RetryAfter = e.backoff(l.Attempts)
		return done
	}
	done.NextDue, done.Remove = r.next, r.next.IsZero()
	return done
}

// imageRound is one round of looks.
type imageRound struct {
	e     *Engine
	cfg   *active
	repo  string
	fence store.Fence
	all   bool // also what is not due
	next  time.Time
	asked asked
	moved bool // something that was seen is new
}

func (r *imageRound) run(ctx context.Context) error {
	st, err := r.e.store.Repository(ctx, r.repo)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	index, err := r.e.loadIndex(ctx, r.repo, st)
	if err != nil {
		return err
	}
	list, err := r.e.store.Edits(ctx, r.repo)
	if err != nil {
		return err
	}
	records := map[string]store.Edit{}
	for _, x := range list {
		if x.Kind == store.SeenVersions {
			records[x.Target] = x
		}
	}
	for _, id := range sortedKeys(index.targets) {
		if len(index.targets[id].Images) == 0 {
			continue
		}
		if err := r.target(ctx, index.targets[id], records[id]); err != nil {
			return err
		}
		delete(records, id)
	}
	for _, id := range sortedKeys(records) {
		r.moved = true
		if err := r.e.store.DropEdit(ctx, r.fence, store.SeenVersions, id); err != nil {
			return err
		}
	}
	if !r.moved && !r.all {
		return nil
	}
	return r.e.wantProposals(ctx, r.repo, store.ByClock, "images", "system:images")
}

// target looks at what one target follows and is due, and notes it.
func (r *imageRound) target(ctx context.Context, res *config.Resolved, rec store.Edit) error {
	was, now := seenOf(rec), make([]seenImage, 0, len(res.Images))
	for _, im := range res.Images {
		old := was[entryOf(im)]
		old.Entry = entryOf(im)
		seen := old
		if ctx.Err() == nil && (r.all || !r.e.clock().Before(r.due(im, old))) {
			seen = r.look(ctx, im, old)
			if err := r.tell(ctx, res, im, old, seen); err != nil {
				return err
			}
		}
		now = append(now, seen)
		due := r.due(im, seen)
		if due.IsZero() {
			due = r.e.clock()
		}
		if r.next.IsZero() || due.Before(r.next) {
			r.next = due
		}
	}
	body, err := json.Marshal(now)
	if err != nil {
		return err
	}
	x := store.Edit{Kind: store.SeenVersions, Target: res.ID, Repository: r.repo, Digest: digestOfSeen(now), Values: body}
	if x.Digest == rec.Digest && string(x.Values) == string(rec.Values) {
		return nil
	}
	r.moved = r.moved || x.Digest != rec.Digest
	return r.e.store.PutEdit(ctx, r.fence, x)
}

// digestOfSeen stands for what a proposal is made of.
func digestOfSeen(list []seenImage) string {
	var b []byte
	for _, s := range list {
		b = fmt.Appendf(b, "%s %s %s\n", s.Entry, s.Tag, s.Digest)
	}
	return digestOf(b)
}

// due is when an image is looked at again; the zero time is at once.
func (r *imageRound) due(im config.Image, s seenImage) time.Time {
	if s.Tried.IsZero() {
		return time.Time{}
	}
	poll := defaultImagePoll
	if reg := r.registryOf(im); reg != nil {
		poll = reg.Poll
	} else if s.Error == "" {
		return time.Time{} // it is not allowed any more: that is to be said
	}
	if at := s.Tried.Add(poll); at.After(s.Wait) {
		return at
	}
	return s.Wait
}

const defaultImagePoll = 10 * time.Minute

// registryOf is the registry that an image lies in: the one that says most
// about it.
func (r *imageRound) registryOf(im config.Image) *config.Registry {
	var found *config.Registry
	for _, reg := range r.cfg.RegistriesFor(r.repo) {
		if reg.Covers(im.URL()) && (found == nil || len(reg.URL) > len(found.URL)) {
			found = reg
		}
	}
	return found
}

// tell records what is worth an event.
func (r *imageRound) tell(ctx context.Context, res *config.Resolved, im config.Image, old, now seenImage) error {
	data := map[string]any{"image": im.Name(), "tag": now.Tag, "digest": now.Digest}
	switch {
	case now.Moved != "" && now.Moved != old.Moved:
		data["was"] = old.Digest
		return r.e.event(ctx, "system:images", "images.moved", res.ID, "", data)
	case now.Error != "" && old.Error == "":
		data["error"] = now.Error
		return r.e.event(ctx, "system:images", "images.failed", res.ID, "", data)
	case now.Error == "" && old.Error != "" && !reflect.DeepEqual(now, old):
		return r.e.event(ctx, "system:images", "images.recovered", res.ID, "", data)
	}
	return nil
}
