package cli

import (
	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/source/forge/all"
)

// forges are the kinds of forges, by the names that config.ForgeConnection
// gives them: github, gitlab, bitbucket, bitbucketdc, gitea.
func forges() forge.Registry { return all.Forges() }
