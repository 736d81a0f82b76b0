package cli_test

import (
	"io"
	"log"
	"net/http/httptest"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/rogpeppe/go-internal/testscript"
)

// cmdRegistry starts a registry of images: registry VARIABLE, which gets its
// host and port.
func cmdRegistry(ts *testscript.TestScript, _ bool, args []string) {
	srv := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	ts.Defer(srv.Close)
	ts.Setenv(args[0], strings.TrimPrefix(srv.URL, "http://"))
}

// cmdImage pushes an image: image HOST/REPOSITORY TAG; its digest is in $DIGEST
// afterwards.
func cmdImage(ts *testscript.TestScript, _ bool, args []string) {
	img, err := mutate.Config(empty.Image, v1.Config{Labels: map[string]string{"tag": args[1]}})
	ts.Check(err)
	ref, err := name.NewTag(args[0]+":"+args[1], name.Insecure)
	ts.Check(err)
	ts.Check(remote.Write(ref, img))
	d, err := img.Digest()
	ts.Check(err)
	ts.Setenv("DIGEST", d.String())
}
