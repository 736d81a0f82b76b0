#!/usr/bin/env bash
# Runs every fuzz test of the module for a short while each.
#   scripts/fuzz.sh [TIME]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
go=${GO:-go}
time=${1:-10s}
n=0
while IFS=: read -r file line; do
  name=${line#func } name=${name%%(*}
  echo "== ./$(dirname "$file") $name"
  "$go" test -run '^$' -fuzz "^$name\$" -fuzztime "$time" "./$(dirname "$file")"
  n=$((n + 1))
done < <(grep -ro --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*(' cmd internal | sort)
echo "$n fuzz tests ran for $time each"
