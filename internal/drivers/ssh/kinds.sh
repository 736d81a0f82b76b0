# Shell functions for the kinds beside files; lib.sh comes before.

# marks: where the marks of what is due lie.
marks() {
	S=/var/lib/trueup/due
	[ "$U" = 0 ] || S=$HOME/.trueup/due
}
mark() { marks; mkdir -p -- "$S" && printf '%s\n' "$2" >"$S/$1" && sy "$S/$1"; }
unmark() { marks; rm -f -- "$S/$1"; }

# told STEP MESSAGE: the outcome of a step that failed before.
told() {
	printf '%s\n' "$2"
	case $2 in *"$N stale"*) stale "$1" ;; *) no "$1" ;; esac
}

# mine: the directory entered is nobody else's.
mine() { [ "$W" = "$U" ] || { echo "the directory belongs to the user with id $W: nothing is written there"; return 1; }; }

# sum SUM FILE: the file still has this content.
sum() { [ "$(sha256sum <"$2" 2>/dev/null)" = "$1  -" ] || changed "$2"; }

# put MODE NAME: brings the input to its place; called from a stage.
put() {
	cat >"./$2" && chmod "$1" "./$2" && sy "./$2" && mv -f -- "./$2" "../$2" && sy ..
}

# started UNIT VERB: starts, restarts or reloads, and says why it does not run.
started() {
	if systemctl "$2" -- "$1" && systemctl is-active -q -- "$1"; then return 0; fi
	echo "$1 does not run after $2:"
	systemctl status --no-pager --lines=8 -- "$1"
	return 1
}

# within SECONDS COMMAND...: with an end.
within() {
	x=$1
	shift
	timeout -k 5 "$x" "$@" </dev/null
	y=$?
	case $y in
	124 | 137) echo "it did not end within $x seconds" ;;
	esac
	return $y
}

# apt NAMES ARGUMENTS...: apt-get install, with a fresh list of packages if the
# one at hand does not do. Nothing is asked, files changed by hand are kept, and
# nothing but the names is removed.
apt() {
	gone=$1
	shift
	DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l
	export DEBIAN_FRONTEND NEEDRESTART_MODE
	spares "$gone" "$@" || return 1
	aptget install "$@" && return 0
	aptget update >/dev/null 2>&1 && spares "$gone" "$@" && aptget install "$@"
}
# spares NAMES ARGUMENTS...: apt-get install would remove nothing but the names.
spares() {
	x=" $1 "
	shift
	y=$(within 300 apt-get -s -q -y install "$@" 2>/dev/null | while read -r a b c; do
		case $a in Remv | Purg) ;; *) continue ;; esac
		case $x in *" $b "* | *" ${b%%:*} "*) ;; *) printf ' %s' "$b" ;; esac
	done)
	[ ! "$y" ] || { echo "nothing is done: apt-get would also remove$y, which nobody asked for; list it as absent if it may go"; return 1; }
}
aptget() {
	x=$1
	shift
	within 1800 apt-get -q -y -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 \
		-o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$x" "$@"
}
installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' -- "$1" 2>/dev/null)" = installed ]; }
