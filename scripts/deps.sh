#!/usr/bin/env bash
# Installs, on Debian and Ubuntu, the programs that the tests (or the demo)
# start themselves on loopback. Quick when all is there. Elsewhere it says what
# is missing and exits 1.
#
#   scripts/deps.sh test|demo|ci|bench
set -euo pipefail

# program:package; a program may also be an absolute glob.
demo=(git:git dig:bind9-dnsutils nsupdate:bind9-dnsutils named:bind9)
tests=("${demo[@]}"
  knotd:knot kdig:knot-dnsutils
  pdns_server:pdns-server '/usr/lib/*/pdns/libgsqlite3backend.so:pdns-backend-sqlite3' sqlite3:sqlite3
  'initdb:postgresql' psql:postgresql-client
  sshd:openssh-server ssh:openssh-client sudo:sudo ip:iproute2 unshare:util-linux
  '/usr/lib/systemd/systemd:systemd' busybox:busybox-static crontab:cron gpg:gnupg
  gcc:gcc '/usr/include/stdio.h:libc6-dev' node:nodejs npm:npm kubectl:kubernetes-client ansible-playbook:ansible-core)

case "${1:-test}" in
  demo) want=("${demo[@]}") ;;
  test) want=("${tests[@]}") ;;
  ci) want=("${tests[@]}" make:make) ;;
  bench) want=("${tests[@]}" rsync:rsync) ;;
  *) echo "usage: scripts/deps.sh test|demo|ci|bench" >&2; exit 2 ;;
esac

have() { # PROGRAM or glob
  local found
  case "$1" in
    /*) compgen -G "$1" >/dev/null ;;
    *) command -v "$1" >/dev/null && return 0
       found=$(compgen -G "/usr/sbin/$1" || compgen -G "/usr/local/sbin/$1" || compgen -G "/usr/lib/postgresql/*/bin/$1" || true)
       [ -n "$found" ] ;;
  esac
}

missing=() packages=()
for entry in "${want[@]}"; do
  program=${entry%:*} package=${entry##*:}
  have "$program" && continue
  missing+=("$program")
  case " ${packages[*]-} " in *" $package "*) ;; *) packages+=("$package") ;; esac
done
[ ${#missing[@]} -eq 0 ] && exit 0

by_hand() {
  echo "missing: ${missing[*]}" >&2
  echo "$1" >&2
  echo "They are in Debian's packages: ${packages[*]}" >&2
  exit 1
}

command -v apt-get >/dev/null || by_hand "This system has no apt-get; install them with its own package manager."
root=()
if [ "$(id -u)" -ne 0 ]; then
  if command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
    root=(sudo)
  else
    by_hand "Installing needs root: run 'sudo apt-get install --no-install-recommends ${packages[*]}'."
  fi
fi
as_root() { "${root[@]}" env DEBIAN_FRONTEND=noninteractive "$@"; }

# The tests start their own servers: keep the packages from starting theirs.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
  as_root chmod 0755 "$policy"
  trap 'as_root rm -f "$policy"' EXIT
fi

echo "installing: ${packages[*]}"
log=$(mktemp)
apt() { as_root apt-get -q -y -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@" </dev/null >"$log" 2>&1; }
install() { apt install --no-install-recommends "${packages[@]}"; }
# The package lists may be missing or old: fetch them, a few times if need be.
if ! install; then
  for wait in 0 5 20; do
    sleep "$wait"
    if apt update && install; then ok=1; break; fi
  done
  [ -n "${ok-}" ] || { tail -n 40 "$log" >&2; rm -f "$log"; by_hand "apt-get could not install them; see above."; }
fi
rm -f "$log"

for entry in "${want[@]}"; do
  have "${entry%:*}" || { echo "${entry%:*} is still missing after installing ${entry##*:}" >&2; exit 1; }
done
