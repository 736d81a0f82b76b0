#!/usr/bin/env bash
# Copies the custom resource definitions of Flux and Argo CD out of their Go
# modules, pinned by internal/servertest/gitops/crds, into the cache directory
# when they are not there, and prints the directory.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
module=$here/internal/servertest/gitops/crds
go=${GO:-go}
sum=$(cat "$module/go.mod" "$module/go.sum" | sha256sum | cut -c1-12)
dir=${XDG_CACHE_HOME:-$HOME/.cache}/trueup/gitops-crds-$sum
mkdir -p "$dir"
exec 9>"$dir/lock"
flock 9
if [ ! -e "$dir/complete" ]; then
  echo "fetching the custom resource definitions of Flux and Argo CD into $dir (once)" >&2
  cd "$module"
  export GOWORK=off
  fetch() { # name of the module, its directory of definitions
    version=$(awk -v m="$1" '$1 == m { print $2; exit }' go.mod)
    from=$("$go" mod download -json "$1@$version" | sed -n 's/^[[:space:]]*"Dir": "\(.*\)",$/\1/p')
    for f in "$from/$2"/*.yaml; do
      [ "$(basename "$f")" = kustomization.yaml ] || install -m 0644 "$f" "$dir/"
    done
  }
  fetch github.com/fluxcd/kustomize-controller config/crd/bases
  fetch github.com/fluxcd/helm-controller config/crd/bases
  fetch github.com/fluxcd/source-controller config/crd/bases
  fetch github.com/argoproj/argo-cd/v3 manifests/crds
  touch "$dir/complete"
fi
printf '%s\n' "$dir"
