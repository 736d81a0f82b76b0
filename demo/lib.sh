# Sourced by run.sh: output, waiting, and the servers of the demo.

if [ -t 1 ] && [ -z "${NO_COLOR-}" ]; then
  bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' cyan=$'\e[36m' off=$'\e[0m'
else
  bold='' dim='' green='' red='' cyan='' off=''
fi

steps=0
step() { steps=$((steps + 1)); printf '\n%s%d. %s%s\n' "$bold$cyan" "$steps" "$1" "$off"; }
say() { printf '   %s\n' "$1"; }

# run shows a command as the reader would type it, then its output.
run() { show "$*"; "$@" 2>&1 | indent; }
show() { printf '   %s$ %s%s\n' "$bold" "${1//$work\//}" "$off"; }
indent() { sed -e "s|$work/||g" -e 's/^/     /'; }

# shorten lets the first lines of a long output through, and the summaries.
shorten() { awk -v n="$1" 'NR <= n || /Plan:/ { print; next } { cut++; if (cut == 1) print "     …" }'; }

# yes states a fact that was just checked on the environment itself.
yes() { printf '   %s✓ %s%s\n' "$green" "$1" "$off"; }
fail() {
  printf '\n   %s✗ %s%s\n' "$red" "$1" "$off" >&2
  for log in serve named; do
    [ -s "$work/$log.log" ] && { printf '\n--- end of %s.log\n' "$log" >&2; tail -n 15 "$work/$log.log" >&2; }
  done
  exit 1
}

# expect WHAT SECONDS COMMAND...: waits until the command succeeds.
expect() {
  local what=$1 end=$((SECONDS + $2)); shift 2
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$end" ] || fail "$what: not so within the time"
    sleep 0.2
  done
  yes "$what"
}

# free_port gives a port on loopback that nobody answers on.
free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 20000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
  done
}

pids=()
# start NAME COMMAND...: runs a server in the background, its output in a log.
start() {
  local name=$1; shift
  "$@" >"$work/$name.log" 2>&1 &
  pids+=($!)
}

# stop_all ends what start began, by process id, and removes the directory.
stop_all() {
  local code=$? pid
  trap - EXIT INT TERM
  for pid in "${pids[@]-}"; do [ -n "$pid" ] && kill "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]-}"; do [ -n "$pid" ] && wait "$pid" 2>/dev/null || true; done
  if [ "$code" -eq 0 ] || [ -z "${KEEP-}" ]; then rm -rf "$work"; else echo "kept: $work" >&2; fi
  exit "$code"
}
