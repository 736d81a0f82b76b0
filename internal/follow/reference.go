package follow

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Form is how a reference stands in a file.
type Form string

// The forms.
const (
	AsTag            Form = "tag"              // 1.2.4; of a chart, its version
	AsDigest         Form = "digest"           // sha256:…
	AsTagDigest      Form = "tag@digest"       // 1.2.4@sha256:…
	AsImageTag       Form = "image:tag"        // registry.example.com/acme/shop:1.2.4
	AsImageDigest    Form = "image@digest"     // registry.example.com/acme/shop@sha256:…
	AsImageTagDigest Form = "image:tag@digest" // both
)

// Forms lists all of them.
var Forms = []Form{AsTag, AsDigest, AsTagDigest, AsImageTag, AsImageDigest, AsImageTagDigest}

// HasTag tells whether the tag stands in the form.
func (f Form) HasTag() bool { return f != AsDigest && f != AsImageDigest }

// HasDigest tells whether the digest stands in the form.
func (f Form) HasDigest() bool { return f != AsTag && f != AsImageTag }

// HasImage tells whether the image's name stands in the form.
func (f Form) HasImage() bool { return strings.HasPrefix(string(f), "image") }

// Reference is a tag, a digest, or both, of an image.
type Reference struct {
	Image  string // as it stands in the file; "" where the form has none
	Tag    string
	Digest string
}

var (
	tagForm    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._+-]{0,127}$`)
	digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

// Read takes a value from a file apart. What an image's reference lacks (a tag,
// a digest) is empty: it is completed when it is written.
func (f Form) Read(text string) (Reference, error) {
	var r Reference
	rest := text
	if f.HasDigest() && f != AsDigest {
		rest, r.Digest, _ = strings.Cut(text, "@")
	}
	switch {
	case f == AsDigest:
		r.Digest = rest
	case f.HasImage():
		r.Image = rest
		if i := strings.LastIndexByte(rest, ':'); i > strings.LastIndexByte(rest, '/') {
			r.Image, r.Tag = rest[:i], rest[i+1:]
		}
		if f == AsImageTag {
			// A digest that stands there would be lost, and counts before the tag.
			if strings.Contains(text, "@") {
				return r, fmt.Errorf("%.200q has a digest; write as: %s", text, AsImageTagDigest)
			}
		}
	default:
		// A whole reference, or a digest behind the tag, is more than would be
		// written: what is not a tag is left alone.
		if r.Tag = rest; rest != "" && !tagForm.MatchString(rest) {
			return r, fmt.Errorf("%.200q is no tag; the field's as: says how the reference stands there", text)
		}
	}
	if r.Digest != "" && !digestForm.MatchString(r.Digest) && (f != AsDigest || strings.Contains(r.Digest, ":")) {
		return r, fmt.Errorf("%.200q holds no digest that can be read", text)
	}
	return r, nil
}

// Write gives the value for a file.
func (f Form) Write(r Reference) (string, error) {
	if f.HasTag() && !tagForm.MatchString(r.Tag) {
		return "", fmt.Errorf("%.200q is no tag", r.Tag)
	}
	if f.HasDigest() && !digestForm.MatchString(r.Digest) {
		return "", errors.New("the registry tells no digest")
	}
	switch f {
	case AsTag:
		return r.Tag, nil
	case AsDigest:
		return r.Digest, nil
	case AsTagDigest:
		return r.Tag + "@" + r.Digest, nil
	case AsImageTag:
		return r.Image + ":" + r.Tag, nil
	case AsImageDigest:
		return r.Image + "@" + r.Digest, nil
	case AsImageTagDigest:
		return r.Image + ":" + r.Tag + "@" + r.Digest, nil
	}
	return "", fmt.Errorf("%q is no form of a reference: write one of %v", f, Forms)
}

// Valid tells whether there is such a form.
func (f Form) Valid() bool { return slices.Contains(Forms, f) }

// SameImage tells whether two names are of one image, as container tools
// complete them: nginx is docker.io/library/nginx.
func SameImage(a, b string) bool { return whole(a) == whole(b) }

func whole(name string) string {
	name = strings.TrimPrefix(name, "oci://")
	host, rest, ok := strings.Cut(name, "/")
	if !ok || host != "localhost" && !strings.ContainsAny(host, ".:") {
		host, rest = "docker.io", name
	}
	if host == "index.docker.io" {
		host = "docker.io"
	}
	if host == "docker.io" && !strings.Contains(rest, "/") {
		rest = "library/" + rest
	}
	return host + "/" + rest
}
