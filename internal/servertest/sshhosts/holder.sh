# The outer half of a test host: PID 1 of its own PID namespace, so that all
# ends with it. It keeps the host's file system and network over reboots.
#   holder.sh DIR NAME KIND MEGABYTES ADDRESS GATEWAY CGROUP
set -e
dir=$1 name=$2 kind=$3 size=$4 address=$5 gateway=$6 cgroup=$7
here=$(cd "$(dirname "$0")" && pwd)

mount --make-rprivate /
mount -t proc proc /proc
hostname "$name"
mkdir -p "$dir/fs"
mount -t tmpfs -o "size=${size}m,mode=755" tmpfs "$dir/fs"
root=$dir/fs/root
mkdir "$dir/fs/up" "$dir/fs/work" "$root"
. "$here/root.sh"
"root_$kind"
mkdir -p "$root/proc" "$root/dev" "$root/run" "$root/tmp" "$root/sys" "$root/etc" "$root/root"
echo "$name" >"$root/etc/hostname"
printf '127.0.0.1 localhost\n%s %s\n' "$address" "$name" >"$root/etc/hosts"

read -r _ # the test has put eth0 into this network namespace
ip link set lo up
ip address add "$address/24" dev eth0
ip link set eth0 up
ip route add default via "$gateway"

while :; do
  cat /proc/sys/kernel/random/uuid >"$dir/fs/boot_id"
  status=0
  rm -f "$dir/fs/booted"
  unshare --pid --mount --cgroup --fork --kill-child sh "$here/boot.sh" "$dir" "$root" "$kind" || status=$?
  # reboot(2) in a PID namespace ends its init with SIGHUP. After a SIGKILL, a
  # power cut, unshare itself fails (1). All else is the end.
  case $status in
    129 | 137) ;;
    *) if [ "$status" != 1 ] || ! [ -e "$dir/fs/booted" ]; then echo "host $name ended: $status" >&2; exit 1; fi ;;
  esac
  # Down while the test holds it down (Host.HoldReboot).
  while [ -e "$dir/hold" ]; do sleep 0.05; done
done
