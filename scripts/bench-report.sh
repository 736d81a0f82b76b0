#!/usr/bin/env bash
# Runs a benchmark and puts its "figure NAME VALUE UNIT [aim …]" lines as a
# table between the page's markers <!-- NAME --> and <!-- /NAME -->.
#   scripts/bench-report.sh NAME COMMAND...
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
name=$1; shift
page=docs/benchmarks.md
out=$(mktemp) table=$(mktemp)
trap 'rm -f "$out" "$table"' EXIT
"$@" | tee "$out"
grep -q '^figure ' "$out" || { echo "the benchmark printed no figures" >&2; exit 1; }
{
  cpu=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo 2>/dev/null | head -n 1)
  printf '\n%s cores (%s), %s, %s.\n\n| Figure | Value | Aim |\n| --- | --- | --- |\n' \
    "$(getconf _NPROCESSORS_ONLN)" "${cpu:-unknown processor}" "$(go env GOVERSION)" "$(date -u +%F)"
  awk '$1 == "figure" { aim = ""; for (i = 5; i <= NF; i++) if ($i != "aim") aim = aim $i " "; printf "| %s | %s %s | %s|\n", $2, $3, $4, aim }' "$out"
  echo
} >"$table"
awk -v start="<!-- $name -->" -v end="<!-- /$name -->" -v table="$table" '
  $0 == start { print; while ((getline line < table) > 0) print line; skip = 1 }
  $0 == end { skip = 0 }
  !skip' "$page" >"$out"
cat "$out" >"$page"
