#!/usr/bin/env bash
# trueup from nothing: a commit changes a real DNS server, drift is put right,
# a mass deletion is held. Starts its own servers on loopback, in a directory
# that it removes again.
#
#   demo/run.sh            KEEP=1 keeps the directory when a step fails
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
top=$PWD
PATH=${TRUEUP_BIN:-$top/bin}:$PATH:/usr/sbin
command -v trueup >/dev/null || { echo "build first: make build" >&2; exit 1; }

work=$(mktemp -d "${TMPDIR:-/tmp}/trueup-demo.XXXXXX")
. demo/lib.sh
. demo/nameserver.sh
trap stop_all EXIT
trap 'exit 130' INT TERM
began=$SECONDS

# Nothing of the user's own settings takes part.
user_home=$HOME
export HOME=$work GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 LC_ALL=C.UTF-8
export GIT_AUTHOR_NAME='Ada' GIT_AUTHOR_EMAIL=ada@example.com GIT_COMMITTER_NAME='Ada' GIT_COMMITTER_EMAIL=ada@example.com
export TRUEUP_CONFIG=$work/server.yaml
unset TRUEUP_SERVER TRUEUP_SOCKET TRUEUP_DATA_DIR TRUEUP_TOKEN_FILE
export NO_COLOR=${NO_COLOR-$([ -t 1 ] || echo 1)}
[ -n "$NO_COLOR" ] || unset NO_COLOR

# The operator's side. Intervals are short for the demo alone.
write_server_yaml() {
  cat >"$work/server.yaml" <<YAML
version: 1
dataDir: $work/data
repositories:
  infra: { url: $work/infra.git, branch: main, poll: 1s }
policies:
  demo:
    guard: { delete: 5 }           # more deletions in one plan need an approval
    drift: correct
    driftInterval: 3s
environments:
  dns:
    driver: dns
    policy: demo
    connect: { server: "127.0.0.1:$port", zone: example.com, tsig: "file:tsig" }
    allow: [{ repository: infra, paths: [dns/**] }]
  web:
    driver: files
    policy: demo
    connect: { root: $work/site }
    allow: [{ repository: infra, paths: [www/**] }]
YAML
}

# push MESSAGE commits what changed in the checkout and pushes it.
push() {
  show "git commit -am '$1' && git push"
  git -C "$work/infra" add -A
  git -C "$work/infra" commit -qm "$1"
  git -C "$work/infra" push -q origin main
}
# from_checkout runs trueup in the checkout, as a developer would.
from_checkout() { show "$*"; (cd "$work/infra" && "$@") 2>&1 | indent; }
answers() { [ "$(ask "$1" "$2")" = "$3" ]; }
served() { cmp -s "$work/infra/www/$1" "$work/site/$1"; }
# phase WORD: is the zone's target in that phase, at the newest commit?
phase() {
  trueup get targets --environment dns --phase "$1" -o json | grep -q '"id": "infra/zone"' || return 1
  [ "$1" != synced ] || trueup get targets --environment dns -o json | grep -q "\"applied\": \"$(git -C "$work/infra" rev-parse HEAD)\""
}
run_id() { trueup get runs --target infra/zone --limit 1 -o json | sed -n 's/.*"id": "\(.*\)",/\1/p' | head -n 1; }
drift_run() { trueup get runs --target infra/zone --state succeeded -o json | grep -q '"cause": "drift"'; }

printf '%strueup demo%s: from a commit to a DNS server, and what keeps it safe\n' "$bold" "$off"

step 'A DNS server, a directory and a Git repository'
start_nameserver
mkdir "$work/site" "$work/data"
git init -q --bare -b main "$work/infra.git"
git init -q -b main "$work/infra"
git -C "$work/infra" remote add origin "$work/infra.git"
cp -R demo/infra/. "$work/infra/"
dig_shown www.example.com A
answers www.example.com A '' || fail 'the zone should have no address for www yet'
yes 'the zone is empty but for its name server; so is the directory'

step 'What is desired (in Git), and what is allowed (on the server)'
write_server_yaml
run cat "$work/infra/trueup.yaml"
run cat "$work/server.yaml"
git -C "$work/infra" add . && git -C "$work/infra" commit -qm 'Zone and web page of example.com'
from_checkout trueup validate
say 'What would be done? A plan needs no server:'
from_checkout trueup plan | shorten 17

step 'Push, and start trueup: DNS records and files appear'
show 'git push'
git -C "$work/infra" push -q origin main
show 'trueup serve --config server.yaml &        # on SQLite, in data/'
start serve trueup serve --config "$work/server.yaml"
expect 'the DNS server answers for www.example.com' 30 answers www.example.com A 192.0.2.10
expect 'the web page is in the directory' 30 served index.html
expect 'trueup has read both back' 30 phase synced
dig_shown www.example.com A
dig_shown shop-06.example.com A
run trueup status

step 'A change: push it, see the plan and what came of it, ask the server'
sed -i 's/192\.0\.2\.10$/192.0.2.20/' "$work/infra/dns/example.com.zone"
run git -C "$work/infra" diff -U0
push 'www moves to its new machine'
expect 'dig gets the new address' 30 answers www.example.com A 192.0.2.20
dig_shown www.example.com A
expect 'trueup has read it back' 30 phase synced
run trueup show "$(run_id)"

step 'Somebody changes the zone by hand: drift is found and put right'
by_hand 'update delete www.example.com. A' 'update add www.example.com. 300 A 203.0.113.66'
say 'The server now says:'
dig_shown www.example.com A
expect 'trueup put the address back that Git asks for' 40 answers www.example.com A 192.0.2.20
dig_shown www.example.com A
expect 'the run is in the history, with drift as its cause' 20 drift_run
run trueup get runs --target infra/zone

step 'A mass deletion: the guard holds it'
sed -i '/^shop-/d' "$work/infra/dns/example.com.zone"
push 'Remove the shop (a slip of the hand)'
expect 'the run is held' 30 phase held
run trueup show infra/zone
for n in 01 03 06; do
  answers "shop-$n.example.com" A "192.0.2.1$n" || fail "shop-$n.example.com is gone"
done
yes 'all shop machines still resolve: nothing was deleted'
say 'Undone in Git, as one would:'
show 'git revert HEAD && git push'
git -C "$work/infra" revert --no-edit HEAD >/dev/null
git -C "$work/infra" push -q origin main
expect 'in sync again' 30 phase synced

step 'Who asked for this record?'
run trueup why dns www.example.com./A
run trueup history dns

printf '\n%sAll of it was checked on the server itself, in %d seconds.%s\n' "$bold$green" "$((SECONDS - began))" "$off"
cat <<END

Try next, in a directory of your own:
  bin/trueup init                      starts a repository's trueup.yaml
  bin/trueup plan --help               plans straight from a checkout, no server needed
  bin/trueup import --help             writes a live zone or directory as desired state
  less docs/quickstart.md              files first, then DNS, step by step
END
