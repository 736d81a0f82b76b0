#!/usr/bin/env bash
# Builds a program that tests start, from Go modules, into the cache directory,
# when it is not there, and prints its path. The first time takes some minutes.
#
#   scripts/server.sh kubetest|helm|tofu|terraform|terraform-provider-things|vault
set -euo pipefail
name=${1-}
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
go=${GO:-go}
build=(build) flags=(-ldflags "-s -w")
case "$name" in
  kubetest)
    module=$top/internal/servertest/kubetest/server package=.
    v=$(awk '$1 == "k8s.io/kubernetes" { print $2; exit }' "$module/go.mod")
    x="-s -w"
    for p in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
      x+=" -X $p.gitVersion=$v -X $p.gitMajor=1 -X $p.gitMinor=$(cut -d. -f2 <<<"$v") -X $p.gitTreeState=clean"
      x+=" -X $p.gitCommit=0000000000000000000000000000000000000000 -X $p.buildDate=2026-01-01T00:00:00Z"
    done
    flags=(-ldflags "$x") ;;
  helm) # the client of go.mod's version, which tests compare with
    module=$top/internal/servertest/helm/program package=helm.sh/helm/v4/cmd/helm ;;
  tofu)
    module=$top/internal/servertest/tofu/program package=github.com/opentofu/opentofu/cmd/tofu
    flags=(-ldflags "-s -w -X github.com/opentofu/opentofu/version.dev=no") ;;
  terraform)
    module=$top/internal/servertest/tofu/terraform package=github.com/hashicorp/terraform
    flags=(-ldflags "-s -w") ;;
  terraform-provider-things)
    module=$top/internal/servertest/tofu/provider package=. ;;
  vault) # its module makes a ready core for tests only: a test binary that serves
    module=$top/internal/servertest/vault/server package=.
    build=(test -c) ;;
  *) echo "usage: scripts/server.sh kubetest|helm|tofu|terraform|terraform-provider-things|vault" >&2; exit 2 ;;
esac
cd "$module"
export GOWORK=off
sum=$(find . -type f \( -name '*.go' -o -name 'go.*' \) -print0 | sort -z | xargs -0 cat | sha256sum | cut -c1-12)
dir=${XDG_CACHE_HOME:-$HOME/.cache}/trueup/$name-$sum
mkdir -p "$dir"
exec 9>"$dir/lock"
flock 9
if [ ! -x "$dir/$name" ]; then
  echo "building $name into $dir (some minutes, once)" >&2
  nice -n 10 "$go" "${build[@]}" "${flags[@]}" -o "$dir/$name.new" "$package" >&2
  mv "$dir/$name.new" "$dir/$name"
fi
printf '%s\n' "$dir/$name"
