package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"

	"trueup.dev/trueup/internal/client/kube"
	"trueup.dev/trueup/internal/drivers/kubernetes/manifest"
	"trueup.dev/trueup/internal/handover"
	"trueup.dev/trueup/internal/handover/argocd"
	"trueup.dev/trueup/internal/handover/flux"
	"trueup.dev/trueup/internal/handover/gather"
	"trueup.dev/trueup/internal/render"
)

// predecessor is a tool that trueup takes the place of.
type predecessor struct {
	name, title string
	long        string
	what        gather.What
	definition  func(*handover.Object) bool // what applies something
	convert     func(*handover.Set, handover.Options) *handover.Result
	steps       func(*handover.Set, *handover.Result, handover.Way) []handover.Step
	safe        func(*handover.Object) (handover.Definition, bool)
	own         func(manifest.Ref) bool
}

func predecessors() []predecessor {
	return []predecessor{
		{name: "flux", title: "Flux", what: gather.What{Kinds: flux.Kinds, Marks: []string{".toolkit.fluxcd.io"}, Keep: flux.Keep, Also: flux.Also}, definition: flux.Applies,
			convert: flux.Convert, steps: flux.Steps, safe: flux.Safe, own: flux.Own,
			long: "Kustomizations and HelmReleases become targets, sources become repositories, and\nwhat Flux says outside of Git (patches, images, values) is written into files."},
		{name: "argocd", title: "Argo CD", what: gather.What{Kinds: argocd.Kinds, Selectors: argocd.Selectors, Marks: []string{"argoproj.io"}, Keep: argocd.Keep, Also: argocd.Also},
			definition: argocd.Applies, convert: argocd.Convert, steps: argocd.Steps, safe: argocd.Safe, own: argocd.Own,
			long: "Applications become targets, ApplicationSets are expanded, projects become grants\nand policies, and what Argo CD says outside of Git is written into files."},
	}
}

// handoverFlags are those of import flux and import argocd.
type handoverFlags struct {
	kubeconfig, context, out, environment, home, helm string
	only, checkouts                                   []string
	check                                             bool
}

const handoverLong = `
It reads files and directories of YAML, or without any a live cluster
(--kubeconfig, --context), where it only ever reads; Secrets are never copied.
Written are server.yaml and, for each repository, a directory with trueup.yaml
and the files that go with it, below --out, where nothing is overwritten. What
can't be carried over, works differently or is to be filled in is listed, and
then the steps of the handover, in the order in which they are safe.

A checkout of a repository (--checkout) lets it look at files. --check asks a
live cluster, without writing anything, whether each old definition can be
deleted without touching production, and whether every object that it applied
has an owner in trueup: it fails while that is not so.`

func (a *app) importFromCommand(p predecessor) *cobra.Command {
	f := &handoverFlags{}
	cmd := &cobra.Command{Use: p.name + " [FILE|DIRECTORY...]", Short: "Write trueup's configuration for what " + p.title + " applies, and the steps of the handover",
		Long:    "Read the objects of " + p.title + " and write trueup's configuration for them.\n" + p.long + "\n" + handoverLong,
		Example: fmt.Sprintf("  trueup import %[1]s --context prod --environment prod\n  trueup import %[1]s clusters/prod --checkout https://git.example.com/acme/fleet.git=.\n  trueup import %[1]s --check --checkout ../fleet --config trueup-import/server.yaml", p.name),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.check {
				return a.checkHandover(cmd, p, f, args)
			}
			return a.importFrom(cmd, p, f, args)
		}}
	fl := cmd.Flags()
	fl.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig of the cluster to read, when no files are given (default: as kubectl)")
	fl.StringVar(&f.context, "context", "", "context in the kubeconfig")
	fl.StringVar(&f.out, "out", "trueup-import", "directory to write to")
	fl.StringVar(&f.environment, "environment", "kubernetes", "name of the environment for the cluster that "+p.title+" runs in")
	fl.StringVar(&f.home, "home", "", "URL of the repository for targets that belong to none by themselves")
	fl.StringVar(&f.helm, "helm", "release", "what becomes of Helm charts that "+p.title+" installs as releases: release or manifests")
	fl.StringSliceVar(&f.only, "only", nil, "only these, by name or namespace/name; may be given again")
	fl.StringArrayVar(&f.checkouts, "checkout", nil, "checkout of a repository, as URL=DIRECTORY or the directory alone; may be given again")
	fl.BoolVar(&f.check, "check", false, "ask the cluster whether the old definitions can be deleted")
	return cmd
}

func (a *app) importFrom(cmd *cobra.Command, p predecessor, f *handoverFlags, args []string) error {
	if f.helm != "release" && f.helm != "manifests" {
		return fmt.Errorf("--helm %s: write release or manifests", f.helm)
	}
	set, err := a.gather(cmd, p, f, args)
	if err != nil {
		return err
	}
	trees, err := f.trees(cmd.Context())
	if err != nil {
		return err
	}
	r := p.convert(set, handover.Options{Environment: f.environment, Home: f.home, Manifests: f.helm == "manifests", Trees: trees.by()})
	if len(r.Targets()) == 0 && len(r.Notes) == 0 {
		return fmt.Errorf("there is nothing of %s here", p.title)
	}
	files, err := r.Output()
	if err != nil {
		return err
	}
	if err := writeNew(f.out, files); err != nil {
		return err
	}
	way, err := f.way(p, r, trees, len(args) == 0)
	if err != nil {
		return err
	}
	return a.tellHandover(cmd, f.out, files, r, p.steps(set, r, way))
}

// tellHandover shows what was written, what a person has to know, and the
// steps.
func (a *app) tellHandover(cmd *cobra.Command, dir string, files map[string][]byte, r *handover.Result, steps []handover.Step) error {
	names := slices.Sorted(maps.Keys(files))
	for i, n := range names {
		names[i] = filepath.Join(dir, filepath.FromSlash(n))
	}
	if !a.table() {
		return a.print(cmd, struct {
			Files []string        `json:"files"`
			Notes []handover.Note `json:"notes"`
			Steps []handover.Step `json:"steps"`
		}{names, notNil(r.Notes), notNil(steps)})
	}
	for _, n := range names {
		sayf(cmd, "wrote %s", n)
	}
	out := cmd.OutOrStdout()
	if err := handover.PrintNotes(out, r.Notes); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(out, "The handover, step by step"); err != nil {
		return err
	}
	return handover.Print(out, steps)
}

// writeNew writes files below a directory and overwrites none: if one is there
// already, none is written.
func writeNew(dir string, files map[string][]byte) error {
	names := slices.Sorted(maps.Keys(files))
	for _, n := range names {
		if _, err := os.Lstat(filepath.Join(dir, filepath.FromSlash(n))); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is there already: name another directory with --out", filepath.Join(dir, filepath.FromSlash(n)))
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, n := range names {
		name := filepath.FromSlash(n)
		if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return err
		}
		_, err = f.Write(files[n])
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// gather reads the objects of files or of the cluster.
func (a *app) gather(cmd *cobra.Command, p predecessor, f *handoverFlags, args []string) (*handover.Set, error) {
	var set *handover.Set
	if len(args) > 0 {
		found, diags, err := p.what.Files(args)
		if err == nil {
			err = render.Diagnostics(cmd.ErrOrStderr(), render.For(cmd.ErrOrStderr()), diags)
		}
		if err == nil && diags.Err() != nil {
			err = errors.New("these files can't be read as they are")
		}
		if err != nil {
			return nil, err
		}
		set = found
	} else {
		c, err := f.cluster()
		if err != nil {
			return nil, err
		}
		if set, err = p.what.Live(cmd.Context(), c); err != nil {
			return nil, err
		}
	}
	if len(f.only) == 0 {
		return set, nil
	}
	return gather.Only(set, f.only, p.definition)
}

// cluster connects as kubectl does: this is a command of a person on their own
// machine, so that their kubeconfig may run programs.
func (f *handoverFlags) cluster() (*kube.Cluster, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = f.kubeconfig
	file, err := rules.Load()
	if err != nil {
		return nil, fmt.Errorf("the kubeconfig can't be read: %w", err)
	}
	if len(file.Contexts) == 0 {
		return nil, errors.New("there is no kubeconfig: name files, or a cluster with --kubeconfig")
	}
	text, err := clientcmd.Write(*file)
	if err != nil {
		return nil, err
	}
	config, err := kube.Config(kube.Options{Kubeconfig: text, Context: f.context, AllowExec: true, UserAgent: "trueup"})
	if err != nil {
		return nil, err
	}
	return kube.New(config)
}

// flags gives what --kubeconfig and --context say, for other commands.
func (f *handoverFlags) flags() string {
	var out strings.Builder
	for _, v := range [][2]string{{"kubeconfig", f.kubeconfig}, {"context", f.context}} {
		if v[1] != "" {
			out.WriteString(" --" + v[0] + " " + handover.Quote(v[1]))
		}
	}
	return out.String()
}

func (f *handoverFlags) way(p predecessor, r *handover.Result, trees checkouts, live bool) (handover.Way, error) {
	out, err := filepath.Abs(f.out)
	if err != nil {
		return handover.Way{}, err
	}
	w := handover.Way{Kubectl: "kubectl" + f.flags(), Out: f.out, Config: filepath.Join(out, "server.yaml"), Live: live, Whole: len(f.only) == 0,
		Import: "trueup import " + p.name + f.flags(), Checkouts: map[string]string{}}
	for _, o := range f.only {
		w.Import += " --only " + handover.Quote(o)
	}
	for _, repo := range r.Repositories {
		if t := trees.find(repo.URL); t != nil {
			w.Checkouts[repo.Name] = t.dir
		}
	}
	return w, nil
}

// checkouts are those that were named, with the URLs of their repositories.
type checkouts []namedCheckout

type namedCheckout struct {
	url, dir string
	*checkout
}

func (f *handoverFlags) trees(ctx context.Context) (checkouts, error) {
	var out checkouts
	for _, text := range f.checkouts {
		url, dir, named := cutLast(text, "=")
		if !named {
			dir = text
		}
		dir, err := filepath.Abs(dir)
		if err != nil {
			return nil, err
		}
		co, err := openCheckout(ctx, dir, "")
		if err != nil {
			return nil, fmt.Errorf("--checkout %s: %w", text, err)
		}
		if !named {
			url = co.remote
		}
		if url == "" {
			return nil, fmt.Errorf("--checkout %s: it has no remote; write URL=%s", text, text)
		}
		out = append(out, namedCheckout{url, dir, co})
	}
	return out, nil
}

// cutLast cuts at the last separator: a URL may have others.
func cutLast(text, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(text, sep); i >= 0 {
		return text[:i], text[i+len(sep):], true
	}
	return text, "", false
}

func (c checkouts) by() map[string]fs.FS {
	out := map[string]fs.FS{}
	for _, t := range c {
		out[handover.SameRepository(t.url)] = t.snapshot.View(".", []string{"**"})
	}
	return out
}

func (c checkouts) find(url string) *namedCheckout {
	for i := range c {
		if handover.SameRepository(c[i].url) == handover.SameRepository(url) {
			return &c[i]
		}
	}
	return nil
}
