# Shell functions for the scripts that read and change a host. They need a
# POSIX shell and coreutils (or busybox), nothing else. $N is a random word that marks
# what is meant for trueup in the output.
for d in /usr/local/sbin /usr/local/bin /usr/sbin /usr/bin /sbin /bin; do
	case :$PATH: in *:$d:*) ;; *) PATH=${PATH:+$PATH:}$d ;; esac
done
LC_ALL=C
export PATH LC_ALL
umask 077
NL='
'
CR=$(printf '\r')
U=$(id -u)

# hidden PATH: it can't be told whether the path is there.
hidden() {
	[ "$U" = 0 ] && return 1
	h=$1
	while :; do
		h=${h%/*}
		[ "$h" ] || h=/
		if [ -d "$h" ]; then
			[ ! -x "$h" ]
			return
		fi
		[ "$h" = / ] && return 1
	done
}

# look PATH...: what is there, what it is, where it leads, what its content sums
# up to. $F is what stat prints. The list is never built anew, which would cost
# the square of its length, unless there is something that sha256sum must not
# touch.
F='%f %u %g - - %s %d:%i %Y %Z'
look() {
	o=
	for p do
		if [ -h "$p" ]; then o=${o}l
		elif [ -f "$p" ]; then if [ -r "$p" ]; then o=${o}f; else o=${o}u; fi
		elif [ -d "$p" ]; then o=${o}d
		elif [ -e "$p" ]; then o=${o}o
		elif hidden "$p"; then o=${o}h
		else o=${o}0
		fi
	done
	echo "$o"
	case $o in *[!0h]*) stat -c "$F" -- "$@" 2>/dev/null ;; esac
	case $o in
	*[lo]*)
		for p do
			shift
			if [ -h "$p" ]; then
				v=$(readlink -n -- "$p"; echo .)
				v=${v%.}
				echo "l ${#v}"
				printf '%s\n' "$v"
			elif [ -f "$p" ]; then set -- "$@" "$p"
			fi
		done
		;;
	esac
	case $o in *f*) ;; *) return 0 ;; esac
	case $1 in
	*\\* | *"$NL"* | *"$CR"*) sha256sum <"$1" ;;
	*) sha256sum -- "$@" 2>/dev/null ;;
	esac
}

# count DIR...: how many names are in each.
count() {
	for d do
		if [ -d "$d" ]; then
			set -- "$d"/* "$d"/.[!.]* "$d"/..?*
			n=$#
			for p do [ -e "$p" ] || [ -h "$p" ] || n=$((n - 1)); done
			echo $n
		else
			echo 0
		fi
	done
}

# content PATH: the content of a small file.
content() {
	if [ -f "$1" ] && [ ! -h "$1" ] && [ -r "$1" ]; then
		echo y
		head -c 1048577 -- "$1" | base64
	else
		echo n
	fi
	echo .
}

# list DIR: the names in it.
list() {
	for p in "$1"/* "$1"/.[!.]* "$1"/..?*; do
		if [ -e "$p" ] || [ -h "$p" ]; then
			p=${p##*/}
			echo "${#p}"
			printf '%s\n' "$p"
		fi
	done
	echo -
}

# facts: what the host says it is.
facts() {
	echo "uid $U"
	echo "user $(id -un)"
	echo "kernel $(uname -srm)"
	while read -r k v; do case $k in MemTotal:) echo "memory $v"; break ;; esac; done 2>/dev/null </proc/meminfo
	read -r v 2>/dev/null </proc/sys/kernel/hostname || v=$(uname -n)
	echo "hostname $v"
	read -r v 2>/dev/null </etc/machine-id && echo "machine $v"
	read -r v 2>/dev/null </proc/sys/kernel/random/boot_id && echo "boot $v"
	read -r v 2>/dev/null </etc/ssh/ssh_host_ed25519_key.pub && echo "hostkey $v"
	while IFS= read -r v; do echo "os $v"; done 2>/dev/null </etc/os-release
	[ -d /run/systemd/system ] && echo "init systemd"
	echo "cpus $(nproc 2>/dev/null)"
	for v in gzip base64 setpriv su systemctl apt-get dnf apk dpkg rpm useradd usermod userdel groupadd groupmod groupdel \
		adduser addgroup deluser delgroup passwd chpasswd gpasswd docker podman sysctl crontab tar unzip xz zstd curl wget; do
		command -v "$v" >/dev/null 2>&1 && echo "tool $v"
	done
	return 0
}

# ok I..., no I..., stale I...: the outcome of steps. What was said before is
# the reason.
ok() { for i do echo "$N $i ok"; done; }
no() { for i do echo "$N $i no"; done; }
stale() { for i do echo "$N $i stale"; done; }

# try STEPS COMMANDS: runs the commands, which belong to the steps.
try() {
	if m=$(eval "$2" 2>&1); then s=ok; else s=no; fi
	case $m in *"$N stale"*) s=stale ;; esac
	[ $s = ok ] || printf '%s\n' "$m"
	$s $1
}

# same WHAT FILE...: the files still are what they were.
same() {
	x=$1
	shift
	y=$(stat -c '%f %u %g' -- "$@"; sha256sum -- "$@")
	[ "$x" = "$y" ] || changed "$*"
}
# same1 WHAT SUM FILE: the same for one file with a name that is odd.
same1() {
	y=$(stat -c '%f %u %g' -- "$3"; sha256sum <"$3")
	[ "$1$NL$2  -" = "$y" ] || changed "$3"
}
# like WHAT FILE...: the same without content.
like() {
	x=$1
	shift
	y=$(stat -c '%f %u %g' -- "$@")
	[ "$x" = "$y" ] || changed "$*"
}
# leads WHERE LINK: the link still leads there.
leads() { [ -h "$2" ] && [ "$(readlink -n -- "$2"; echo .)" = "$1." ] || changed "$2"; }
# free PATH...: nothing is there.
free() {
	for f do
		if [ -e "$f" ] || [ -h "$f" ]; then changed "$f"; return 1; fi
	done
}
changed() {
	echo "$N stale"
	echo "$1 changed meanwhile"
	return 1
}

# enter DIR: goes there, and finds out as whom it is safe to write: $W.
enter() {
	W=$U
	way "$1" || return 1
	cd -P -- "$1" 2>/dev/null || {
		echo "the directory $1 is not there or can't be entered"
		return 1
	}
	r=$(pwd -P; echo .)
	r=${r%"$NL".}
	[ "$r" = "$1" ] || [ "$W" != "$U" ] || way "$r" || return 1
	D=$(stat -c '%d:%i' .)
	[ "$W" != "$U" ] || [ "$D" = "$I" ] || {
		echo "the directory $1 was moved meanwhile"
		return 1
	}
}

# way DIR: looks at every directory on the way. Up to the first that belongs to
# somebody else, nobody but us can lead us astray. From there on we act as
# that somebody.
way() {
	w=$1
	set -- /
	q=
	e=${w#/}
	while [ "$e" ]; do
		c=${e%%/*}
		case $e in */*) e=${e#*/} ;; *) e= ;; esac
		[ "$c" ] || continue
		q=$q/$c
		set -- "$@" "$q"
	done
	s=$(stat -c '%u %g %a %f %d:%i' -- "$@" 2>/dev/null) || {
		echo "the directory $w is not there"
		return 1
	}
	X=
	I=${s##* } # the last one's inode
	oldifs=$IFS
	IFS=$NL
	set -f
	for l in $s; do
		p=$1
		shift
		IFS=' '
		step "$p" $# $l || {
			IFS=$oldifs
			set +f
			return 1
		}
		IFS=$NL
		[ "$W" = "$U" ] || break
	done
	IFS=$oldifs
	set +f
}

# step PATH LEFT UID GID MODE TYPE: one directory on the way.
step() {
	if [ "$X" ]; then
		echo "$X can be changed by others than root (its mode allows it), so what lies below it could be led elsewhere: nothing is written there"
		return 1
	fi
	if [ "$3" != 0 ] && [ "$3" != "$U" ]; then
		if [ "$U" = 0 ]; then
			W=$3
			return 0
		fi
		echo "$1 belongs to the user with id $3, who could lead us elsewhere: nothing is written there"
		return 1
	fi
	case $6 in a*) return 0 ;; esac
	case $5 in
	[1357]???) return 0 ;;
	*[2367]) X=$1 ;;
	*[2367]?) [ "$4" = 0 ] || [ "$U" != 0 ] || X=$1 ;;
	esac
	return 0
}

# as [-c COMMANDS]: runs the commands, or the script on stdin, as the user $W,
# in this directory.
as() {
	g= n=
	while IFS=: read -r a b c d e; do
		if [ "$c" = "$W" ]; then g=$d n=$a; break; fi
	done </etc/passwd
	[ "$g" ] || g=$W
	if chroot --userspec="+$W:+$g" --groups="$g" --skip-chdir / true 2>/dev/null; then
		chroot --userspec="+$W:+$g" --groups="$g" --skip-chdir / sh "$@"
	elif setpriv --reuid="$W" --regid="$g" --clear-groups true 2>/dev/null; then
		setpriv --reuid="$W" --regid="$g" --clear-groups sh "$@"
	elif [ "$n" ] && command -v su >/dev/null 2>&1; then
		su -s /bin/sh "$n" -c "${2-sh}"
	else
		echo "the directory belongs to the user with id $W, and there is no chroot, setpriv or su to write as that user"
		return 1
	fi
}

# group DIR STEPS COMMANDS: runs the commands in the directory as whoever may
# safely write there. The steps fail if that is not possible.
group() {
	(
		if ! enter "$1"; then
			no $2
			exit
		fi
		if [ "$W" = "$U" ]; then
			eval "$3"
		else
			printf '%s\n' "N=$N W=$W D=$D" "$LIB" "$3" | as 2>&1 || no $2
		fi
	)
}

# stage: makes a directory of our own to prepare things in, and goes there.
# From inside, .. always is the directory that it was made in.
stage() {
	for s in ./.trueup-[0-9]*; do
		t=${s#./.trueup-}
		t=${t%%-*}
		[ -d "$s" ] && [ ! -h "$s" ] && [ -d /proc/self ] && ! [ -d "/proc/$t" ] && rm -rf -- "$s"
	done
	T=.trueup-$$-$N
	mkdir -m 700 -- "./$T" && cd -P -- "./$T" || return 1
	case $(stat -c '%u %a %d:%i' . ..) in
	"$W 700 "*"$NL"*" $D" | "$W 2700 "*"$NL"*" $D") ;;
	*)
		echo "the directory to prepare files in was exchanged meanwhile"
		return 1
		;;
	esac
	trap unstage EXIT
	trap 'exit 1' HUP INT TERM PIPE
	set -C
}
unstage() { cd -P .. 2>/dev/null && { rmdir -- "./$T" 2>/dev/null || rm -rf -- "./$T"; }; }

# sudoers FILE: sudo can read it; with one that it can't it lets nobody in.
sudoers() {
	command -v visudo >/dev/null 2>&1 || return 0
	visudo -cf "$1" </dev/null || { echo "sudo could not read it, and would let nobody in any more"; return 1; }
}

# sy FILE...: to the disk.
sy() { sync -- "$@" 2>/dev/null || sync; }

# left STEP PATH: the outcome of something that takes the path away.
left() { if [ -e "$2" ] || [ -h "$2" ]; then no "$1"; else ok "$1"; fi; }

# unit STEPS COMMANDS FILE...: prepares files with the commands, then moves each
# to its place. The steps are in the order of the files.
unit() {
	i=$1 c=$2
	shift 2
	if m=$(eval "$c" 2>&1); then
		m=$(mv -f -- "$@" ../ 2>&1) || printf '%s\n' "$m"
		for s in $i; do
			left "$s" "$1"
			shift
		done
	else
		printf '%s\n' "$m"
		case $m in *"$N stale"*) stale $i ;; *) no $i ;; esac
		rm -rf -- "$@"
	fi
}

# grow STEPS COMMANDS DIR: prepares a new directory with all that is in it, and
# moves it to its place.
grow() {
	if m=$(eval "$2" 2>&1) && m=$(mv -f -- "$3" ../ 2>&1); then
		ok $1
	else
		printf '%s\n' "$m"
		case $m in *"$N stale"*) stale $1 ;; *) no $1 ;; esac
		rm -rf -- "$3"
	fi
}

# drop STEPS COMMANDS FILE...: removes files once the commands agree.
drop() {
	i=$1 c=$2
	shift 2
	if m=$(eval "$c" 2>&1); then
		m=$(rm -f -- "$@" 2>&1) || printf '%s\n' "$m"
		for s in $i; do
			left "$s" "$1"
			shift
		done
	else
		printf '%s\n' "$m"
		case $m in *"$N stale"*) stale $i ;; *) no $i ;; esac
	fi
}

# same_inode ID: this directory is the one that was looked at.
same_inode() { [ "$(stat -c '%d:%i' .)" = "$1" ] || changed "$(pwd)"; }

# receive DIR COMMANDS: runs the commands in the directory, with our input.
receive() {
	(
		if ! enter "$1"; then
			no 0
			exit
		fi
		if [ "$W" = "$U" ]; then
			eval "$2"
		else
			as -c "N=$N W=$W D=$D$NL$LIB$NL$2" 2>&1 || no 0
		fi
	)
}

# entry FILE NAME LINE: the line of passwd or group still is what it was; ''
# for none.
entry() {
	y=
	while IFS= read -r x; do
		case $x in "$2":*) y=$x; break ;; esac
	done <"$1"
	[ "$y" = "$3" ] || changed "the entry of $2 in $1"
}
has_group() { while IFS=: read -r x y; do [ "$x" = "$1" ] && return 0; done </etc/group; return 1; }
# home_of USER: $H, the user's home directory.
home_of() {
	H=
	while IFS=: read -r a b c d e f g; do
		if [ "$a" = "$1" ]; then H=$f; return 0; fi
	done </etc/passwd
	echo "there is no user $1"
	return 1
}

# walk PATH: the path and everything below it, links not followed; $C counts.
walk() {
	[ -e "$1" ] || [ -h "$1" ] || return 0
	C=$((C + 1))
	[ $C -le 5000 ] || return 0
	echo "${#1}"
	printf '%s\n' "$1"
	[ -d "$1" ] && [ ! -h "$1" ] || return 0
	set -- "${1%/}"/* "${1%/}"/.[!.]* "${1%/}"/..?*
	for p do walk "$p"; done
}
