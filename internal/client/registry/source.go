package registry

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/secret"
)

// Source is a place that the operator allows artefacts and tags to come from,
// with everything below it.
type Source struct {
	// URL is a registry, or a part of one (oci://registry.example.com/acme), or
	// a Helm chart repository (https://charts.example.com/stable).
	URL string `yaml:"url" json:"url" jsonschema:"required"`
	// Username and Password are the credentials; without them nobody is logged in.
	Username string `yaml:"username,omitempty" json:"username,omitempty"`
	// Password is a reference to the password or token.
	Password secret.Ref `yaml:"password,omitempty" json:"password,omitempty"`
	// CA is a file with the certificates, in PEM, that the server's must be
	// signed by. Without it the system's count.
	CA string `yaml:"ca,omitempty" json:"ca,omitempty"`
	// Insecure speaks plain HTTP with the server, credentials included.
	Insecure bool `yaml:"insecure,omitempty" json:"insecure,omitempty"`
	// Hosts are other hosts that the server may send its clients to: for tokens
	// and to download from (auth.docker.io, *.s3.amazonaws.com). Any other
	// redirect is refused.
	Hosts []string `yaml:"hosts,omitempty" json:"hosts,omitempty" strict:"one"`
}

// Check says what is wrong with a list of sources; field is what the list is
// called in its file.
func Check(field string, sources []Source) plan.Diagnostics {
	var diags plan.Diagnostics
	seen := map[string]bool{}
	for i, s := range sources {
		at := fmt.Sprintf("%s[%d]", field, i)
		found := s.Check(at)
		diags = append(diags, found...)
		if key := strings.TrimRight(s.URL, "/"); found == nil && seen[key] {
			diags.Errorf(plan.Source{}, at+".url", "remove one of the two", "%s stands there twice", s.URL)
		} else {
			seen[key] = true
		}
	}
	return diags
}

// Check says what is wrong with a source; field is what it is called in its
// file, "" for what stands around it.
func (s Source) Check(field string) plan.Diagnostics {
	var diags plan.Diagnostics
	bad := func(at, mend, format string, args ...any) {
		if field != "" {
			at = field + "." + at
		}
		diags.Errorf(plan.Source{}, at, mend, format, args...)
	}
	p, err := parsePlace(s.URL)
	switch {
	case err != nil:
		bad("url", "write oci://HOST/PATH for a registry, https://HOST/PATH for a chart repository", "%s", err)
	case p.scheme == "http" && !s.Insecure:
		bad("url", "use https, or set insecure", "plain HTTP shows everything to anybody on the way")
	case p.scheme == "https" && s.Insecure:
		bad("insecure", "write http in the URL if plain HTTP is meant", "the URL says https")
	}
	if s.Insecure && s.CA != "" {
		bad("ca", "leave out ca or insecure", "plain HTTP has no certificates")
	}
	if (s.Username == "") != (s.Password == "") {
		bad("username", "give both, or neither", "username and password go together")
	}
	if s.Password != "" && s.Password.Scheme() == "" {
		bad("password", "write a reference, such as env:REGISTRY_TOKEN", "it is no reference to a secret")
	}
	for i, h := range s.Hosts {
		if !hostGlob.MatchString(h) || strings.HasPrefix(h, "*.") && !strings.Contains(h[2:], ".") {
			bad(fmt.Sprintf("hosts[%d]", i), "a star may stand for the first parts, as in *.cdn.example.com", "%q is no host name", h)
		}
	}
	return diags
}

// CheckURL says what is wrong with a URL that is asked for.
func CheckURL(rawURL string) error {
	_, err := parsePlace(rawURL)
	return err
}

// Covers tells whether a URL lies below one of the sources.
func Covers(sources []Source, rawURL string) bool {
	p, err := parsePlace(rawURL)
	return err == nil && slices.ContainsFunc(sources, func(s Source) bool {
		q, err := parsePlace(s.URL)
		return err == nil && p.asked().below(q)
	})
}

// place is a URL that was taken apart: one of a source, or one that somebody
// asks for.
type place struct {
	oci    bool
	scheme string // of an OCI registry without meaning
	host   string // with the port, if there is one
	path   string // acme/shop; no slash at either end
}

var (
	ociPath   = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$`)
	plainPath = regexp.MustCompile(`^[A-Za-z0-9._~/+-]*$`)
	hostForm  = regexp.MustCompile(`^(?:[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?$`)
	hostGlob  = regexp.MustCompile(`^(?:\*\.)?[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*(?::[0-9]{1,5})?$`)
)

const maxURL = 1024

// parsePlace takes a URL apart and refuses everything that could mean another
// place than it seems to.
func parsePlace(raw string) (place, error) {
	if len(raw) > maxURL {
		return place{}, fmt.Errorf("the URL has more than %d characters", maxURL)
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return place{}, errors.New("it is no URL: write oci://host/path or https://host/path")
	case u.Scheme != "oci" && u.Scheme != "https" && u.Scheme != "http":
		return place{}, errors.New("write oci://host/path for a registry, https://host/path for a chart repository")
	case u.User != nil:
		return place{}, errors.New("user name and password don't stand in a URL: use username and password")
	case u.Host == "" || u.Opaque != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return place{}, errors.New("a URL has a host and a path, and nothing behind them")
	case u.RawPath != "" || strings.Contains(u.Path, "%") || !plainPath.MatchString(u.Path):
		return place{}, errors.New("the path holds characters that a URL of a registry or chart repository has not")
	}
	if !hostForm.MatchString(strings.ToLower(u.Host)) {
		return place{}, fmt.Errorf("%.100q is no host", u.Host)
	}
	p := place{oci: u.Scheme == "oci", scheme: u.Scheme, host: strings.ToLower(u.Host), path: strings.Trim(u.Path, "/")}
	if clean := path.Clean("/" + p.path); clean != "/" && clean != "/"+p.path {
		return place{}, errors.New("the path holds empty parts or dots for parts")
	}
	if !p.oci {
		return p, nil
	}
	if p.path != "" && !ociPath.MatchString(p.path) {
		return place{}, fmt.Errorf("%q is no name of a repository: lower-case letters, digits, and . _ - between them; tags and digests don't stand there", p.path)
	}
	reg, err := name.NewRegistry(p.host)
	if err != nil {
		return place{}, err
	}
	p.host = reg.RegistryStr() // docker.io has another name
	return p, nil
}

// asked is the place that is meant where somebody asks for an image: Docker Hub
// has its official ones in library.
func (p place) asked() place {
	if p.oci && p.host == name.DefaultRegistry && p.path != "" && !strings.Contains(p.path, "/") {
		p.path = "library/" + p.path
	}
	return p
}

// below tells whether p is q, or lies below it.
func (p place) below(q place) bool {
	return p.oci == q.oci && p.host == q.host && (p.oci || p.scheme == q.scheme) && under(p.path, q.path)
}

// under compares paths by their parts.
func under(p, q string) bool { return q == "" || p == q || strings.HasPrefix(p, q+"/") }

// source is a Source that was taken apart.
type source struct {
	Source
	place
	id string // stands for the source with all its settings
}

func (s Source) parse() (*source, error) {
	if err := s.Check("").Err(); err != nil {
		return nil, err
	}
	p, err := parsePlace(s.URL)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(b)
	return &source{Source: s, place: p, id: hex.EncodeToString(sum[:8])}, nil
}

// webScheme is what the server is spoken to by.
func (s *source) webScheme() string {
	if s.Insecure {
		return "http"
	}
	return "https"
}

// names tells how the operator names a host: as itself, by a star, or not.
func (s *source) names(host string) (exact, star bool) {
	if host == s.host {
		return true, true
	}
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	for _, h := range s.Hosts {
		if h == host || h == name {
			exact = true
		}
		if tail, ok := strings.CutPrefix(h, "*"); ok && (strings.HasSuffix(host, tail) || strings.HasSuffix(name, tail)) {
			star = true
		}
	}
	return exact, exact || star
}

// allows tells whether a request may go to a URL: to what lies below the
// source, to what serves it on the same host (tokens, downloads), and to the
// hosts that the operator names beside it.
func (s *source) allows(u *url.URL) error {
	host := strings.ToLower(u.Host)
	if _, ok := s.names(host); !ok || u.User != nil {
		return fmt.Errorf("%s is not below %s, nor one of its hosts: %w", bare(u), s.URL, ErrRefused)
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !s.Insecure) {
		return fmt.Errorf("%s is not https: %w", bare(u), ErrRefused)
	}
	if host != s.host {
		return nil
	}
	p := strings.TrimPrefix(u.Path, "/")
	if clean := path.Clean("/" + p); clean != "/"+strings.TrimSuffix(p, "/") && p != "" {
		return fmt.Errorf("%s holds empty parts, . or ..: %w", bare(u), ErrRefused)
	}
	if s.oci {
		api, isAPI := strings.CutPrefix(p, "v2/")
		if !isAPI || api == "" || under(api, s.path) {
			return nil
		}
	} else if under(p, s.path) {
		return nil
	}
	return fmt.Errorf("%s is not below %s: %w", bare(u), s.URL, ErrRefused)
}
