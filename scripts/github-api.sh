#!/usr/bin/env bash
# Installs what the tests of the forge GitHub need from the npm registry, as
# the lock file beside its package.json pins it, into the cache directory when
# it is not there, and prints the directory.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
module=$here/internal/servertest/githubapi
sum=$(cat "$module/package.json" "$module/package-lock.json" | sha256sum | cut -c1-12)
dir=${XDG_CACHE_HOME:-$HOME/.cache}/trueup/githubapi-$sum
mkdir -p "$dir"
exec 9>"$dir/lock"
flock 9
if [ ! -e "$dir/complete" ]; then
  command -v npm >/dev/null || { echo "npm is not installed: apt-get install --no-install-recommends nodejs npm" >&2; exit 1; }
  echo "installing GitHub's API description and its checking server into $dir (once)" >&2
  cp "$module/package.json" "$module/package-lock.json" "$dir/"
  (cd "$dir" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
  # Descriptions of other editions: hundreds of megabytes that nobody reads.
  find "$dir/node_modules/@octokit/openapi/generated" -name '*.json' ! -name api.github.com.json -delete
  touch "$dir/complete"
fi
printf '%s\n' "$dir"
