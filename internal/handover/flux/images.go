package flux

import (
	"fmt"

	"trueup.dev/trueup/internal/handover"
)

// imageAutomation says what the objects of Flux's image automation asked for,
// so that image updates can be set up in trueup.
func (c *converter) imageAutomation() {
	for _, o := range c.set.Of(imageGroup, "ImagePolicy") {
		c.imagePolicy(o)
	}
	for _, o := range c.set.Of(imageGroup, "ImageRepository") {
		o.At("spec").Ignore()
	}
	for _, o := range c.set.Of(imageGroup, "ImageUpdateAutomation") {
		o.At("spec").Ignore()
		c.out.Lost(o, "", "trueup proposes new images as pull requests, for each target", "set image updates up for the targets whose images it changed; the comments {\"$imagepolicy\": …} in the manifests are then without use")
	}
}

func (c *converter) imagePolicy(o *handover.Object) {
	spec := o.At("spec")
	ref := spec.At("imageRepositoryRef")
	ns, name := ref.At("namespace").Text(), ref.At("name").Text()
	if ns == "" {
		ns = o.GetNamespace()
	}
	image := "the image of " + handover.Name("ImageRepository", ns, name)
	if r := c.set.Find(imageGroup, "ImageRepository", ns, name); r != nil {
		image = r.At("spec", "image").Text()
	}
	rule := "its tags"
	switch p := spec.At("policy"); {
	case p.At("semver").Has():
		rule = fmt.Sprintf("the versions %q", p.At("semver", "range").Text())
	case p.At("alphabetical").Has():
		rule = "the last tag in alphabetical order"
	case p.At("numerical").Has():
		rule = "the last tag in numerical order"
	}
	if f := spec.At("filterTags", "pattern").Text(); f != "" {
		rule += fmt.Sprintf(", of the tags that match %q", f)
	}
	spec.Ignore()
	c.out.Lost(o, "", fmt.Sprintf("it followed %s of %s", rule, image), "set image updates up with the same rule")
}
