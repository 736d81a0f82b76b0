package github

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	gh "github.com/google/go-github/v88/github"

	"trueup.dev/trueup/internal/source/forge"
)

// perCall is how many annotations GitHub takes in one call.
const perCall = 50

// Annotate shows findings at lines of files by a check run. GitHub lets Apps
// alone write those; with a token it is ErrUnsupported.
func (f *Forge) Annotate(ctx context.Context, commit, name string, list []forge.Annotation) error {
	if f.app == nil {
		return fmt.Errorf("annotations need a GitHub App, a token can't write check runs: %w", forge.ErrUnsupported)
	}
	what := fmt.Sprintf("check run %s of %s", name, commit)
	if len(list) == 0 {
		had, err := f.hasRun(ctx, commit, name)
		if err != nil || !had {
			return err
		}
	}
	var all []*gh.CheckRunAnnotation
	for _, a := range list {
		line := max(a.Line, 1)
		all = append(all, &gh.CheckRunAnnotation{Path: gh.Ptr(a.Path), StartLine: &line, EndLine: &line,
			AnnotationLevel: gh.Ptr(level(a.Level)), Message: gh.Ptr(forge.Shorten(a.Message, 16000))})
	}
	title, conclusion := outcome(list)
	out := func(part []*gh.CheckRunAnnotation) *gh.CheckRunOutput {
		return &gh.CheckRunOutput{Title: &title, Summary: &title, Annotations: part}
	}
	parts := slices.Collect(slices.Chunk(all, perCall))
	if len(parts) == 0 {
		parts = [][]*gh.CheckRunAnnotation{nil}
	}
	// A new run of the same name takes the place of the one before.
	run, _, err := f.gh.Checks.CreateCheckRun(ctx, f.owner, f.name, gh.CreateCheckRunOptions{Name: name, HeadSHA: commit,
		Status: gh.Ptr("completed"), Conclusion: &conclusion, CompletedAt: &gh.Timestamp{Time: time.Now().UTC()}, Output: out(parts[0])})
	if err != nil {
		return fmt.Errorf("%s: %w", what, f.checkError(err))
	}
	for _, part := range parts[1:] {
		if _, _, err := f.gh.Checks.UpdateCheckRun(ctx, f.owner, f.name, run.GetID(), gh.UpdateCheckRunOptions{Name: name, Output: out(part)}); err != nil {
			return fmt.Errorf("%s: %w", what, f.checkError(err))
		}
	}
	return nil
}

// checkError tells a missing right apart: the findings are not lost then, they
// stand in the comment.
func (f *Forge) checkError(err error) error {
	if err = f.fail(err); errors.Is(err, forge.ErrDenied) {
		return fmt.Errorf("%w (the App needs checks: write): %w", forge.ErrUnsupported, err)
	}
	return err
}

func (f *Forge) hasRun(ctx context.Context, commit, name string) (bool, error) {
	got, _, err := f.gh.Checks.ListCheckRunsForRef(ctx, f.owner, f.name, url.PathEscape(commit),
		&gh.ListCheckRunsOptions{CheckName: &name, AppID: &f.app.id, ListOptions: gh.ListOptions{PerPage: 1}})
	if err != nil {
		return false, fmt.Errorf("check runs of %s: %w", commit, f.checkError(err))
	}
	return len(got.CheckRuns) > 0, nil
}

func level(l string) string {
	switch l {
	case "error":
		return "failure"
	case "warning":
		return "warning"
	}
	return "notice"
}

func outcome(list []forge.Annotation) (title, conclusion string) {
	n := map[string]int{}
	for _, a := range list {
		n[level(a.Level)]++
	}
	switch {
	case n["failure"] > 0:
		return fmt.Sprintf("%d errors, %d warnings", n["failure"], n["warning"]), "failure"
	case len(list) > 0:
		return fmt.Sprintf("%d warnings, %d notices", n["warning"], n["notice"]), "neutral"
	}
	return "Nothing found", "success"
}
