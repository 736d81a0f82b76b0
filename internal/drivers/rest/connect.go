package rest

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"

	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/secret"
)

// Connect says where an API is and what resources it has.
type Connect struct {
	// URL is what all paths start with: https://git.example.com/api/v1.
	URL string `yaml:"url" json:"url" jsonschema:"required"`
	// Auth says how requests are authenticated.
	Auth Auth `yaml:"auth,omitempty" json:"auth,omitempty"`
	// Headers are sent with every request.
	Headers map[string]string `yaml:"headers,omitempty" json:"headers,omitempty"`
	// CA is a file with the certificates, in PEM, that the server's must be
	// signed by. Without it the system's count.
	CA string `yaml:"ca,omitempty" json:"ca,omitempty"`
	// Timeout bounds a request; 30s by default.
	Timeout time.Duration `yaml:"timeout,omitempty" json:"timeout,omitempty"`
	// Rate is the most requests in a second; 0 is no limit.
	Rate float64 `yaml:"rate,omitempty" json:"rate,omitempty"`
	// Retries is how often a request that is safe to repeat is tried again; 3 by
	// default, -1 for never.
	Retries int `yaml:"retries,omitempty" json:"retries,omitempty"`
	// Realm names the system, where the URL alone does not: two accounts with
	// separate objects, say.
	Realm string `yaml:"realm,omitempty" json:"realm,omitempty"`
	// Types are the kinds of resources, by name.
	Types map[string]*Type `yaml:"types" json:"types" jsonschema:"required"`
}

// Auth is one way of authenticating.
type Auth struct {
	// Bearer is a reference to a token for the Authorization header.
	Bearer secret.Ref `yaml:"bearer,omitempty" json:"bearer,omitempty"`
	// Basic is a user name and a password.
	Basic *Basic `yaml:"basic,omitempty" json:"basic,omitempty"`
	// Header is a header of its own, such as X-API-Key.
	Header *Header `yaml:"header,omitempty" json:"header,omitempty"`
	// OAuth2 gets tokens by client credentials.
	OAuth2 *OAuth2 `yaml:"oauth2,omitempty" json:"oauth2,omitempty"`
}

// Basic is a user name and a password.
type Basic struct {
	Username string     `yaml:"username" json:"username" jsonschema:"required"`
	Password secret.Ref `yaml:"password" json:"password" jsonschema:"required"`
}

// Header is a header with a secret.
type Header struct {
	Name string `yaml:"name" json:"name" jsonschema:"required"`
	// Prefix stands before the secret: "token ".
	Prefix string     `yaml:"prefix,omitempty" json:"prefix,omitempty"`
	Value  secret.Ref `yaml:"value" json:"value" jsonschema:"required"`
}

// OAuth2 is a client that gets tokens.
type OAuth2 struct {
	TokenURL     string     `yaml:"tokenURL" json:"tokenURL" jsonschema:"required"`
	ClientID     string     `yaml:"clientID" json:"clientID" jsonschema:"required"`
	ClientSecret secret.Ref `yaml:"clientSecret" json:"clientSecret" jsonschema:"required"`
	Scopes       []string   `yaml:"scopes,omitempty" json:"scopes,omitempty" strict:"one"`
}

// Type is a kind of resource: how it is listed and written.
type Type struct {
	// Key points to the fields that name an object, in desired files and in the
	// API's answers alike.
	Key []string `yaml:"key" json:"key" strict:"one" jsonschema:"required"`
	// ID points to the field that {id} stands for; the first key by default.
	ID string `yaml:"id,omitempty" json:"id,omitempty"`
	// List gives all objects.
	List List `yaml:"list" json:"list" jsonschema:"required"`
	// Read gives one object, where the list does not tell all of it.
	Read *Request `yaml:"read,omitempty" json:"read,omitempty"`
	// Create makes an object; POST by default.
	Create *Request `yaml:"create,omitempty" json:"create,omitempty"`
	// Update changes an object; PUT by default.
	Update *Request `yaml:"update,omitempty" json:"update,omitempty"`
	// Delete removes an object; DELETE by default.
	Delete *Request `yaml:"delete,omitempty" json:"delete,omitempty"`
	// Ignore points to desired fields that are sent and not compared.
	Ignore []string `yaml:"ignore,omitempty" json:"ignore,omitempty" strict:"one"`
	// WriteOnly points to fields that the API takes and never shows. A change
	// of them in Git is noticed, a change by hand is not.
	WriteOnly []string `yaml:"writeOnly,omitempty" json:"writeOnly,omitempty" strict:"one"`
	// Secret points to fields that are masked wherever they are shown.
	Secret []string `yaml:"secret,omitempty" json:"secret,omitempty" strict:"one"`
	// ETag sends If-Match with updates and deletes; it needs read.
	ETag bool `yaml:"etag,omitempty" json:"etag,omitempty"`
	// Class is what guards count; the type's name by default.
	Class string `yaml:"class,omitempty" json:"class,omitempty"`
}

// Request is a request's template. In Path, and in texts of Body, {id}, {key}
// and {/pointer} stand for the object's.
type Request struct {
	Method string `yaml:"method,omitempty" json:"method,omitempty"`
	Path   string `yaml:"path" json:"path" jsonschema:"required"`
	// Body is what is sent; the desired object by default. The text "{object}"
	// stands for the object, a key "{object}" for its fields.
	Body any `yaml:"body,omitempty" json:"body,omitempty"`
	// Merge sends what the API has with the desired fields laid over it, for
	// APIs that empty what is not sent.
	Merge bool `yaml:"merge,omitempty" json:"merge,omitempty"`
}

// List says how all objects are listed.
type List struct {
	Path string `yaml:"path" json:"path" jsonschema:"required"`
	// Query are parameters of the first request, such as limit.
	Query map[string]string `yaml:"query,omitempty" json:"query,omitempty"`
	// Items points to the list in the answer; the answer itself by default.
	Items string `yaml:"items,omitempty" json:"items,omitempty"`
	// Paging says how the next page is asked for; all is on one by default.
	Paging Paging `yaml:"paging,omitempty" json:"paging,omitempty" jsonschema:"enum=link,enum=page,enum=cursor"`
	// Param is the parameter of the page's number (page) or of the cursor.
	Param string `yaml:"param,omitempty" json:"param,omitempty"`
	// First is the first page's number; 1 by default.
	First *int `yaml:"first,omitempty" json:"first,omitempty"`
	// Next points to the next cursor in an answer.
	Next string `yaml:"next,omitempty" json:"next,omitempty"`
	// Total is a header, or a pointer into the answer, with the number of all
	// objects: a list that has another number is not whole.
	Total string `yaml:"total,omitempty" json:"total,omitempty"`
}

// Paging is a way of asking for the next page.
type Paging string

// The ways: the Link header's rel="next"; numbers, until a page is empty; a
// cursor that each answer holds for the next.
const (
	ByLink   Paging = "link"
	ByPage   Paging = "page"
	ByCursor Paging = "cursor"
)

// Validate checks the values.
func (c *Connect) Validate() plan.Diagnostics {
	var d plan.Diagnostics
	checkURL(&d, "url", c.URL)
	ways := 0
	for _, given := range []bool{c.Auth.Bearer != "", c.Auth.Basic != nil, c.Auth.Header != nil, c.Auth.OAuth2 != nil} {
		if given {
			ways++
		}
	}
	if ways > 1 {
		d.Errorf(plan.Source{}, "auth", "give one of bearer, basic, header, oauth2", "has %d ways", ways)
	}
	if o := c.Auth.OAuth2; o != nil {
		checkURL(&d, "auth.oauth2.tokenURL", o.TokenURL)
	}
	if c.Timeout < 0 || c.Rate < 0 {
		d.Errorf(plan.Source{}, "timeout", "write numbers from 0 up", "timeout or rate is negative")
	}
	if len(c.Types) == 0 {
		d.Errorf(plan.Source{}, "types", "declare a type of resource", "is empty")
	}
	for _, n := range sortedKeys(c.Types) {
		field := "types." + n
		if !typeName.MatchString(n) {
			d.Errorf(plan.Source{}, field, "use letters, digits, - and _", "%q is no name of a type", n)
		}
		if c.Types[n] == nil {
			d.Errorf(plan.Source{}, field, "give key, list and the requests", "is empty")
			continue
		}
		c.Types[n].validate(&d, field)
	}
	return d
}

var typeName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]*$`)

func checkURL(d *plan.Diagnostics, field, text string) {
	u, err := url.Parse(text)
	switch {
	case text == "" || err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.RawQuery != "" || u.Fragment != "":
		d.Errorf(plan.Source{}, field, "write it as https://api.example.com/v1", "%q is no address of an API", text)
	case u.User != nil:
		d.Errorf(plan.Source{}, field, "use auth with a reference", "holds credentials")
	}
}

func (t *Type) validate(d *plan.Diagnostics, field string) {
	at := plan.Source{}
	if len(t.Key) == 0 {
		d.Errorf(at, field+".key", "point to the field that names an object, for example /name", "is missing")
	}
	for part, list := range map[string][]string{"key": t.Key, "ignore": t.Ignore, "writeOnly": t.WriteOnly, "secret": t.Secret} {
		for i, p := range list {
			checkPointer(d, fmt.Sprintf("%s.%s[%d]", field, part, i), p)
		}
	}
	if t.ID != "" {
		checkPointer(d, field+".id", t.ID)
	}
	t.List.validate(d, field+".list")
	for n, r := range map[string]*Request{"read": t.Read, "create": t.Create, "update": t.Update, "delete": t.Delete} {
		if r == nil {
			continue
		}
		if !strings.HasPrefix(r.Path, "/") {
			d.Errorf(at, field+"."+n+".path", "begin it with a slash; the url stands before it", "%q is no path", r.Path)
		}
		if r.Method != "" && !slices.Contains([]string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}, r.Method) {
			d.Errorf(at, field+"."+n+".method", "write POST, PUT, PATCH or DELETE", "%q is unknown", r.Method)
		}
		if r.Merge && n != "update" {
			d.Errorf(at, field+"."+n+".merge", "remove it", "has a meaning for update alone")
		}
	}
	if t.ETag && t.Read == nil {
		d.Errorf(at, field+".etag", "give read: the ETag is in its answer", "needs read")
	}
}

func (l *List) validate(d *plan.Diagnostics, field string) {
	at := plan.Source{}
	if !strings.HasPrefix(l.Path, "/") {
		d.Errorf(at, field+".path", "begin it with a slash; the url stands before it", "%q is no path", l.Path)
	}
	for n, p := range map[string]string{"items": l.Items, "next": l.Next} {
		if p != "" {
			checkPointer(d, field+"."+n, p)
		}
	}
	switch l.Paging {
	case "", ByLink:
		if l.Param != "" || l.Next != "" {
			d.Errorf(at, field+".paging", "write page or cursor, or remove param and next", "param and next have no meaning here")
		}
	case ByPage, ByCursor:
		if l.Param == "" {
			d.Errorf(at, field+".param", "name the parameter", "is missing")
		}
		if l.Paging == ByCursor && l.Next == "" {
			d.Errorf(at, field+".next", "point to the next cursor in an answer, for example /next", "is missing")
		}
	default:
		d.Errorf(at, field+".paging", "write link, page or cursor", "%q is unknown", l.Paging)
	}
}

func checkPointer(d *plan.Diagnostics, field, p string) {
	if !strings.HasPrefix(p, "/") || p == "/" {
		d.Errorf(plan.Source{}, field, "write it as /name or /spec/name", "%q is no JSON pointer", p)
	}
}

// Spec says what a target's files hold.
type Spec struct {
	// Type is the type of all objects in the files. Without it the files map
	// types to lists of objects.
	Type string `yaml:"type,omitempty" json:"type,omitempty"`
}

// Scope narrows an environment to some objects.
type Scope struct {
	// Addresses lists globs of addresses, for example "label/team-a-*"; empty
	// means all.
	Addresses []string `yaml:"addresses,omitempty" json:"addresses,omitempty" strict:"one"`
}

// Validate checks the values.
func (s *Scope) Validate() plan.Diagnostics {
	var d plan.Diagnostics
	for i, g := range s.Addresses {
		if g == "" || !doublestar.ValidatePattern(g) {
			d.Errorf(plan.Source{}, fmt.Sprintf("addresses[%d]", i), "write a glob such as label/team-a-*", "%q is none", g)
		}
	}
	return d
}

// Contains tells whether an object lies inside.
func (s *Scope) Contains(k plan.Key, _ string) bool {
	if s == nil || len(s.Addresses) == 0 {
		return true
	}
	return slices.ContainsFunc(s.Addresses, func(g string) bool { return doublestar.MatchUnvalidated(g, string(k.Address)) })
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
