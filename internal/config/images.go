package config

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"trueup.dev/trueup/internal/client/registry"
	"trueup.dev/trueup/internal/config/strict"
	"trueup.dev/trueup/internal/edit"
	"trueup.dev/trueup/internal/follow"
)

// Registry is a registry of images, or a repository of charts, whose tags
// repositories may follow.
type Registry struct {
	registry.Source
	// Poll is the time between looks at the tags.
	Poll time.Duration `yaml:"poll" jsonschema:"default=10m,minimum=1m"`
	// Allow lists the repositories that may follow what lies below the URL.
	Allow []string `yaml:"allow" strict:"one" jsonschema:"required"`
}

// Covers tells whether a URL lies below the registry's.
func (r *Registry) Covers(url string) bool {
	return registry.Covers([]registry.Source{r.Source}, url)
}

// Image is an image, an OCI artefact or a chart whose newest version is
// proposed for the target's files, by a pull request.
type Image struct {
	// Image is an image or OCI artefact, with its registry:
	// registry.example.com/acme/shop.
	Image string `yaml:"image" json:"image,omitempty"`
	// Chart is a chart in a chart repository, in place of image.
	Chart  *Chart      `yaml:"chart" json:"chart,omitempty"`
	Follow ImageFollow `yaml:"follow" json:"follow" jsonschema:"required"` // which tags count, and which is the newest
	// Exclude lists globs of tags that are never taken.
	Exclude []string `yaml:"exclude" json:"exclude,omitempty" strict:"one" jsonschema:"maxItems=100"`
	// Fields are where it stands in the target's files.
	Fields []ImageField `yaml:"fields" json:"fields" jsonschema:"required,minItems=1,maxItems=20"`
	// Group puts it into one pull request with all of the repository that name
	// the same group; without it the target has a pull request of its own.
	Group string `yaml:"group" json:"group,omitempty"`
}

// Chart is a chart in a chart repository.
type Chart struct {
	Repository string `yaml:"repository" json:"repository" jsonschema:"required"` // its URL: https://charts.example.com/stable
	Name       string `yaml:"name" json:"name" jsonschema:"required"`             // of the chart
}

// ImageFollow says which tags count, and which of them is the newest.
type ImageFollow struct {
	// Semver is a range of versions: ">=1.2 <2". The newest version in it counts.
	Semver     string `yaml:"semver" json:"semver,omitempty"`
	Prerelease bool   `yaml:"prerelease" json:"prerelease,omitempty"` // with semver: versions such as 1.3.0-rc.1 count, too
	// Regexp is what a whole tag looks like. One group in it says what is
	// compared; with semver, that is the version.
	Regexp string `yaml:"regexp" json:"regexp,omitempty"`
	Order  string `yaml:"order" json:"order,omitempty" jsonschema:"enum=numeric,enum=alphabetical"` // of tags that regexp finds, without semver
	// Tag is one tag whose content is followed by its digest, such as stable.
	Tag string `yaml:"tag" json:"tag,omitempty"`
}

// ImageField is a place in the target's files with a tag, a digest or a
// reference.
type ImageField struct {
	File     string `yaml:"file" json:"file,omitempty"`                                // below the target's path; default: the path itself
	Path     string `yaml:"path" json:"path,omitempty"`                                // in YAML or JSON: $.image.tag
	Pointer  string `yaml:"pointer" json:"pointer,omitempty"`                          // in YAML or JSON, in place of path: /image/tag
	Regexp   string `yaml:"regexp" json:"regexp,omitempty"`                            // in any text, in place of path: an expression that matches once, its one group is the value
	Document int    `yaml:"document" json:"document,omitempty" jsonschema:"minimum=1"` // of a file with several YAML documents; default 1
	// As is how it stands there: tag (default; of a chart, its version), digest,
	// tag@digest, image:tag, image@digest or image:tag@digest.
	As follow.Form `yaml:"as" json:"as,omitempty" jsonschema:"default=tag,enum=tag,enum=digest,enum=tag@digest,enum=image:tag,enum=image@digest,enum=image:tag@digest"`
}

// Place gives the place in the file.
func (f ImageField) Place() edit.Field {
	return edit.Field{File: f.File, Path: f.Path, Pointer: f.Pointer, Regexp: f.Regexp, Document: f.Document}
}

// Form is how it stands there.
func (f ImageField) Form() follow.Form {
	if f.As == "" {
		return follow.AsTag
	}
	return f.As
}

// Name is what people call it.
func (i Image) Name() string {
	if i.Chart != nil {
		return strings.TrimRight(i.Chart.Repository, "/") + " " + i.Chart.Name
	}
	return strings.TrimPrefix(i.Image, "oci://")
}

// URL is where its tags or its index are.
func (i Image) URL() string {
	if i.Chart != nil {
		return i.Chart.Repository
	}
	return "oci://" + strings.TrimPrefix(i.Image, "oci://")
}

// Rule is the rule by which its newest version is picked.
func (i Image) Rule() follow.Rule {
	f := i.Follow
	return follow.Rule{Semver: f.Semver, Prerelease: f.Prerelease, Regexp: f.Regexp, Order: f.Order, Tag: f.Tag, Exclude: i.Exclude}
}

// RegistriesFor gives the registries that a repository may follow, by name.
func (s *Server) RegistriesFor(repository string) map[string]*Registry {
	out := map[string]*Registry{}
	for name, r := range s.Registries {
		if slices.Contains(r.Allow, repository) {
			out[name] = r
		}
	}
	return out
}

// registries checks the operator's registries.
func (p *serverParser) registries() {
	p.names("registries", sorted(p.s.Registries))
	seen := map[string]string{}
	for _, name := range sorted(p.s.Registries) {
		r, base := p.s.Registries[name], "registries."+name
		for _, d := range r.Source.Check(base) {
			p.fail(d.Field, d.Mend, "%s", d.Message)
		}
		for i, repo := range r.Allow {
			if p.s.Repositories[repo] == nil {
				p.fail(fmt.Sprintf("%s.allow[%d]", base, i), strict.Mend(repo, sorted(p.s.Repositories)), "there is no repository %q", repo)
			}
		}
		if other, dup := seen[strings.TrimRight(r.URL, "/")]; dup {
			p.fail(base+".url", "make one of the two, or let one of them name more of the path", "registries.%s has the same URL", other)
		}
		seen[strings.TrimRight(r.URL, "/")] = name
	}
}

// images checks what a target follows.
func (e *entry) images(r *Resolved) {
	for i := range e.t.Images {
		at := fmt.Sprintf("images[%d]", i)
		im := &e.t.Images[i]
		e.image(at, im)
		e.imageFields(at, im)
		e.allowed(at, im)
	}
	r.Images = e.t.Images
}

func (e *entry) image(at string, im *Image) {
	switch {
	case (im.Image == "") == (im.Chart == nil):
		e.fail(at, "give one of the two", "give image or chart")
		return
	case im.Chart != nil:
		if err := registry.CheckURL(im.Chart.Repository); err != nil {
			e.fail(at+".chart.repository", "", "%s", err)
		} else if strings.HasPrefix(im.Chart.Repository, "oci:") {
			e.fail(at+".chart.repository", "write image: and the chart's path in the registry", "charts in a registry are followed as images")
		}
	default:
		host, rest, _ := strings.Cut(strings.TrimPrefix(im.Image, "oci://"), "/")
		if err := registry.CheckURL(im.URL()); err != nil {
			e.fail(at+".image", "write it with its registry, without a tag: registry.example.com/acme/shop", "%s", err)
		} else if rest == "" || host != "localhost" && !strings.ContainsAny(host, ".:") {
			e.fail(at+".image", "write it with its registry: docker.io/library/nginx, not nginx", "%q names no registry and path", im.Image)
		}
	}
	if _, err := follow.New(im.Rule()); err != nil {
		e.fail(at+".follow", "write {semver: \">=1.2 <2\"}, {regexp: 'main-(\\d+)', order: numeric} or {tag: stable}", "%s", err)
	}
	if im.Chart != nil && im.Follow.Tag != "" {
		e.fail(at+".follow.tag", "follow versions by semver", "a chart has no tags that move")
	}
	if im.Group != "" && !namePattern.MatchString(im.Group) {
		e.fail(at+".group", nameMend, "%q can't be the name of a group", im.Group)
	}
}

func (e *entry) imageFields(at string, im *Image) {
	if len(im.Fields) == 0 {
		e.fail(at+".fields", "list where it stands: [{file: values.yaml, path: $.image.tag}]", "there are no fields")
		return
	}
	tag, digest := false, false
	for k, f := range im.Fields {
		field := fmt.Sprintf("%s.fields[%d]", at, k)
		e.place(field, f.Place())
		tag, digest = tag || f.Form().HasTag(), digest || f.Form().HasDigest()
		if im.Chart != nil && f.Form() != follow.AsTag && f.Form() != follow.AsDigest {
			e.fail(field+".as", "write tag (the version) or digest, in a field for each", "a chart is not referred to as %s", f.Form())
		}
		if slices.ContainsFunc(im.Fields[:k], func(o ImageField) bool { return o.Place() == f.Place() }) {
			e.fail(field, "remove one of the two", "the same place stands twice")
		}
	}
	switch {
	case im.Follow.Tag != "" && !digest:
		e.fail(at+".fields", "add a field with as: digest, or another form with a digest", "a tag that is followed by its content has to stand with its digest")
	case im.Follow.Tag == "" && !tag:
		e.fail(at+".fields", "add a field with the tag: what is newer is told by it", "no field holds the tag that is in use")
	}
}

// allowed checks that the operator lets the repository follow it.
func (e *entry) allowed(at string, im *Image) {
	if e.Alone || registry.CheckURL(im.URL()) != nil {
		return
	}
	var urls []string
	var sources []registry.Source
	for _, r := range e.Server.RegistriesFor(e.Repository) {
		sources, urls = append(sources, r.Source), append(urls, r.URL)
	}
	if registry.Covers(sources, im.URL()) {
		return
	}
	slices.Sort(urls)
	mend := "the operator allows it under registries: in server.yaml"
	if len(urls) > 0 {
		mend += "; so far: " + strings.Join(urls, ", ")
	}
	e.fail(at, mend, "the repository %q may not follow %s", e.Repository, im.Name())
}
