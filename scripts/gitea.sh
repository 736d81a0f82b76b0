#!/usr/bin/env bash
# Builds the Gitea that the forge tests start, from Go modules, into the cache
# directory, when it is not there, and prints two lines: the program, and the
# directory with its templates. The first time takes some minutes.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
module=$here/internal/servertest/gitea/server
go=${GO:-go}
cd "$module"
export GOWORK=off GOFLAGS=
version=$(awk '$1 == "require" && $2 == "code.gitea.io/gitea" { print $3 }' go.mod)
sum=$(cat go.mod go.sum | sha256sum | cut -c1-12)
dir=${XDG_CACHE_HOME:-$HOME/.cache}/trueup/gitea-$version-$sum
program=$dir/gitea
mkdir -p "$dir"
exec 9>"$dir/lock"
flock 9
if [ ! -x "$program" ]; then
  echo "building Gitea $version into $dir (some minutes, once)" >&2
  nice -n 10 "$go" build -tags 'sqlite sqlite_unlock_notify' -o "$program.new" code.gitea.io/gitea >&2
  mv "$program.new" "$program"
fi
static=$("$go" list -m -f '{{.Dir}}' code.gitea.io/gitea)
[ -d "$static/templates" ] || { "$go" mod download code.gitea.io/gitea >&2; static=$("$go" list -m -f '{{.Dir}}' code.gitea.io/gitea); }
printf '%s\n%s\n' "$program" "$static"
