// Package all is the registry of the kinds of forges that trueup speaks.
package all

import (
	"trueup.dev/trueup/internal/source/forge"
	"trueup.dev/trueup/internal/source/forge/bitbucket"
	"trueup.dev/trueup/internal/source/forge/bitbucketdc"
	"trueup.dev/trueup/internal/source/forge/gitea"
	"trueup.dev/trueup/internal/source/forge/github"
	"trueup.dev/trueup/internal/source/forge/gitlab"
)

// Forges gives the openers by kind, as they stand in the configuration.
func Forges() forge.Registry {
	return forge.Registry{
		bitbucket.Kind:   bitbucket.Open,
		bitbucketdc.Kind: bitbucketdc.Open,
		gitea.Kind:       gitea.Open,
		github.Kind:      github.Open,
		gitlab.Kind:      gitlab.Open,
	}
}
