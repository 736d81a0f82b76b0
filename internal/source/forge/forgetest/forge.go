// Package forgetest is a forge in memory, for tests of what uses one. It does
// what real forges do where that matters: ids count up, times have seconds,
// what is asked for is recorded, and it can be down, slow or out of quota.
package forgetest

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"trueup.dev/trueup/internal/secret"
	"trueup.dev/trueup/internal/source/forge"
)

// Forge is a forge in memory with one repository.
//
//house:exception a fake holds a whole forge
type Forge struct {
	mu       sync.Mutex
	Project  string
	Clock    func() time.Time
	pulls    map[int]*forge.PullRequest
	comments map[int][]forge.Comment
	reviews  map[int][]forge.Review
	statuses []forge.Status
	deploys  map[string]forge.Deployment
	notes    map[string][]forge.Annotation
	reacted  map[string][]forge.Reaction
	roles    map[string]forge.Permission
	teams    map[string][]string
	proposed []forge.Proposal
	merges   map[string]int // merge commit to number
	calls    map[string]int
	nextID   int
	fail     func(call string) error
	// Settling is how many questions MergedBy answers with "nobody" before it
	// knows a merge, as forges do that record it after they have pushed. Until
	// then what was merged is listed as open.
	Settling int
	// NoReactions makes React unsupported, as on some forges.
	NoReactions bool
	// NoReviewCommits leaves out of reviews which commit they are about, as some
	// forges do.
	NoReviewCommits bool
	// Limit is the most characters of a comment; 0 is 65536.
	Limit int
}

// New makes an empty forge.
func New(project string) *Forge {
	return &Forge{Project: project, pulls: map[int]*forge.PullRequest{}, comments: map[int][]forge.Comment{},
		reviews: map[int][]forge.Review{}, deploys: map[string]forge.Deployment{}, notes: map[string][]forge.Annotation{},
		reacted: map[string][]forge.Reaction{}, roles: map[string]forge.Permission{}, teams: map[string][]string{},
		merges: map[string]int{}, calls: map[string]int{}}
}

// Opener gives this forge to whoever opens one.
func (f *Forge) Opener() forge.Opener {
	return func(context.Context, forge.Options) (forge.Forge, error) { return f, nil }
}

// Fail makes calls fail from now on; nil lets them pass again. The names are
// those of the interface's methods.
func (f *Forge) Fail(fn func(call string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = fn
}

// Calls tells how often a method was called.
func (f *Forge) Calls(name string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[name]
}

// enter counts a call and takes the lock, or gives the failure asked for.
func (f *Forge) enter(ctx context.Context, call string) (leave func(), err error) {
	f.mu.Lock()
	f.calls[call]++
	if f.fail != nil {
		if err := f.fail(call); err != nil {
			f.mu.Unlock()
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		f.mu.Unlock()
		return nil, err
	}
	return f.mu.Unlock, nil
}

func (f *Forge) now() time.Time {
	if f.Clock != nil {
		return f.Clock().UTC().Truncate(time.Second)
	}
	return time.Now().UTC().Truncate(time.Second)
}

func (f *Forge) id() string {
	f.nextID++
	return strconv.Itoa(f.nextID)
}

// Info describes it.
func (f *Forge) Info() forge.Info {
	limit := f.Limit
	if limit == 0 {
		limit = 65536
	}
	return forge.Info{Kind: "gitea", Name: "Forgetest", Project: f.Project, WebURL: "https://forge.test/" + f.Project,
		Noun: "pull request", HeadRef: "refs/pull/%d/head", CommentLimit: limit, Collapse: true}
}

// SignatureHeader carries a delivery's HMAC, DeliveryHeader its id.
const (
	SignatureHeader = "X-Forgetest-Signature"
	DeliveryHeader  = "X-Forgetest-Delivery"
)

// Sign gives the headers and the body of a delivery.
func Sign(e forge.Event, key string) (http.Header, []byte) {
	body, _ := json.Marshal(e) // plain data
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write(body)
	h := http.Header{}
	h.Set(SignatureHeader, hex.EncodeToString(mac.Sum(nil)))
	h.Set(DeliveryHeader, e.Delivery)
	return h, body
}

// Verify checks the HMAC.
func (f *Forge) Verify(h http.Header, body []byte, secrets []secret.Value) error {
	given, err := hex.DecodeString(h.Get(SignatureHeader))
	if err != nil || len(given) == 0 {
		return forge.ErrSignature
	}
	for _, s := range secrets {
		mac := hmac.New(sha256.New, []byte(s.Reveal()))
		mac.Write(body)
		if hmac.Equal(mac.Sum(nil), given) {
			return nil
		}
	}
	return forge.ErrSignature
}

// Parse reads an event that stands in the body as JSON.
func (f *Forge) Parse(h http.Header, body []byte) (forge.Event, error) {
	var e forge.Event
	if err := json.Unmarshal(body, &e); err != nil {
		return e, fmt.Errorf("the body is no event: %w", err)
	}
	e.Delivery = h.Get(DeliveryHeader)
	return e, nil
}

// PullRequest gives one.
func (f *Forge) PullRequest(ctx context.Context, number int) (forge.PullRequest, error) {
	leave, err := f.enter(ctx, "PullRequest")
	if err != nil {
		return forge.PullRequest{}, err
	}
	defer leave()
	p := f.pulls[number]
	if p == nil {
		return forge.PullRequest{}, fmt.Errorf("pull request %d: %w", number, forge.ErrNotFound)
	}
	return *p, nil
}

// Open lists the open ones.
func (f *Forge) Open(ctx context.Context) ([]forge.PullRequest, error) {
	leave, err := f.enter(ctx, "Open")
	if err != nil {
		return nil, err
	}
	defer leave()
	var out []forge.PullRequest
	for _, p := range f.pulls {
		if p.State == "open" {
			out = append(out, *p)
		} else if p.State == "merged" && f.Settling > 0 {
			late := *p
			late.State, late.MergeCommit, late.MergedBy = "open", "", ""
			out = append(out, late)
		}
	}
	slices.SortFunc(out, func(a, b forge.PullRequest) int { return a.Number - b.Number })
	return out, nil
}

// Files is not kept here.
func (f *Forge) Files(ctx context.Context, _ int) ([]forge.File, error) {
	leave, err := f.enter(ctx, "Files")
	if err != nil {
		return nil, err
	}
	leave()
	return nil, forge.ErrUnsupported
}

// Reviews gives the last review of each.
func (f *Forge) Reviews(ctx context.Context, number int) ([]forge.Review, error) {
	leave, err := f.enter(ctx, "Reviews")
	if err != nil {
		return nil, err
	}
	defer leave()
	return slices.Clone(f.reviews[number]), nil
}

// MergedBy finds a merged pull request by its commit.
func (f *Forge) MergedBy(ctx context.Context, commit string) (forge.PullRequest, error) {
	leave, err := f.enter(ctx, "MergedBy")
	if err != nil {
		return forge.PullRequest{}, err
	}
	defer leave()
	n, ok := f.merges[commit]
	if ok && f.Settling > 0 {
		f.Settling--
		ok = false
	}
	if !ok {
		return forge.PullRequest{}, fmt.Errorf("commit %s: %w", commit, forge.ErrNotFound)
	}
	return *f.pulls[n], nil
}

// List gives comments.
func (f *Forge) List(ctx context.Context, number int) ([]forge.Comment, error) {
	leave, err := f.enter(ctx, "List")
	if err != nil {
		return nil, err
	}
	defer leave()
	return slices.Clone(f.comments[number]), nil
}

// Add writes a comment as trueup.
func (f *Forge) Add(ctx context.Context, number int, body string) (forge.Comment, error) {
	leave, err := f.enter(ctx, "Add")
	if err != nil {
		return forge.Comment{}, err
	}
	defer leave()
	if n := len([]rune(body)); n > f.Info().CommentLimit {
		return forge.Comment{}, fmt.Errorf("the comment has %d characters", n)
	}
	return f.add(number, "trueup-bot", body, true), nil
}

func (f *Forge) add(number int, author, body string, own bool) forge.Comment {
	id := f.id()
	c := forge.Comment{ID: id, Author: author, Body: body, Own: own, At: f.now(), URL: fmt.Sprintf("%s/pulls/%d#c%s", f.Info().WebURL, number, id)}
	f.comments[number] = append(f.comments[number], c)
	if p := f.pulls[number]; p != nil {
		p.UpdatedAt = f.now()
	}
	return c
}

// Edit replaces a comment.
func (f *Forge) Edit(ctx context.Context, number int, id, body string) error {
	leave, err := f.enter(ctx, "Edit")
	if err != nil {
		return err
	}
	defer leave()
	if n := len([]rune(body)); n > f.Info().CommentLimit {
		return fmt.Errorf("the comment has %d characters", n)
	}
	for i := range f.comments[number] {
		if c := &f.comments[number][i]; c.ID == id {
			c.Body = body
			return nil
		}
	}
	return fmt.Errorf("comment %s: %w", id, forge.ErrNotFound)
}

// React adds a reaction.
func (f *Forge) React(ctx context.Context, _ int, id string, r forge.Reaction) error {
	leave, err := f.enter(ctx, "React")
	if err != nil {
		return err
	}
	defer leave()
	if f.NoReactions {
		return forge.ErrUnsupported
	}
	if !slices.Contains(f.reacted[id], r) {
		f.reacted[id] = append(f.reacted[id], r)
	}
	return nil
}

// SetStatus records a status.
func (f *Forge) SetStatus(ctx context.Context, s forge.Status) error {
	leave, err := f.enter(ctx, "SetStatus")
	if err != nil {
		return err
	}
	defer leave()
	f.statuses = append(f.statuses, s)
	return nil
}

// Permission gives what Grant gave.
func (f *Forge) Permission(ctx context.Context, user string) (forge.Permission, error) {
	leave, err := f.enter(ctx, "Permission")
	if err != nil {
		return forge.NoAccess, err
	}
	defer leave()
	return f.roles[user], nil
}

// InTeam tells who Team put there.
func (f *Forge) InTeam(ctx context.Context, team, user string) (bool, error) {
	leave, err := f.enter(ctx, "InTeam")
	if err != nil {
		return false, err
	}
	defer leave()
	members, ok := f.teams[team]
	if !ok {
		return false, fmt.Errorf("team %s: %w", team, forge.ErrNotFound)
	}
	return slices.Contains(members, user), nil
}

// Propose opens a pull request, or brings the open one of that branch up to
// date.
func (f *Forge) Propose(ctx context.Context, p forge.Proposal) (forge.PullRequest, error) {
	leave, err := f.enter(ctx, "Propose")
	if err != nil {
		return forge.PullRequest{}, err
	}
	defer leave()
	f.proposed = append(f.proposed, p)
	for _, pr := range f.pulls {
		if pr.State == "open" && pr.Head == p.Head && pr.Base == p.Base && !pr.Fork {
			pr.Title, pr.UpdatedAt = p.Title, f.now()
			return *pr, nil
		}
	}
	n := len(f.pulls) + 1
	pr := &forge.PullRequest{Number: n, Title: p.Title, State: "open", Draft: p.Draft, Author: "trueup-bot", Base: p.Base, Head: p.Head,
		HeadProject: f.Project, UpdatedAt: f.now(), Labels: p.Labels, URL: fmt.Sprintf("%s/pulls/%d", f.Info().WebURL, n)}
	f.pulls[n] = pr
	return *pr, nil
}

// Annotate keeps annotations.
func (f *Forge) Annotate(ctx context.Context, commit, name string, a []forge.Annotation) error {
	leave, err := f.enter(ctx, "Annotate")
	if err != nil {
		return err
	}
	defer leave()
	f.notes[commit+" "+name] = slices.Clone(a)
	return nil
}

// Deploy keeps deployments.
func (f *Forge) Deploy(ctx context.Context, d forge.Deployment) (string, error) {
	leave, err := f.enter(ctx, "Deploy")
	if err != nil {
		return "", err
	}
	defer leave()
	if d.ID == "" {
		d.ID = f.id()
	}
	f.deploys[d.ID] = d
	return d.ID, nil
}

// text is all that trueup wrote, for canaries.
func (f *Forge) text() string {
	var b strings.Builder
	_ = json.NewEncoder(&b).Encode([]any{f.comments, f.statuses, f.notes, f.deploys, f.proposed}) // plain data
	return b.String()
}
