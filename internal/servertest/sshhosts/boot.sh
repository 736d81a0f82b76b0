# The inner half of a test host: from power-on to PID 1 of the host itself.
#   boot.sh DIR ROOT KIND
set -e
dir=$1 root=$2 kind=$3

mount -t proc proc "$root/proc"
# The kernel belongs to the machine: a host may set what is its network's alone.
mount --bind "$root/proc/sys" "$root/proc/sys"
mount --bind "$root/proc/sys/net" "$root/proc/sys/net"
mount -o remount,ro,bind "$root/proc/sys"
mount --bind "$dir/fs/boot_id" "$root/proc/sys/kernel/random/boot_id"
if [ -e "$root/proc/sysrq-trigger" ]; then mount --bind /dev/null "$root/proc/sysrq-trigger"; fi
mount -t tmpfs -o mode=755,size=1m tmpfs "$root/dev"
node() { mknod -m 666 "$root/dev/$1" c "$2" "$3"; }
node null 1 3; node zero 1 5; node full 1 7; node random 1 8; node urandom 1 9; node tty 5 0
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs -o mode=1777,size=16m tmpfs "$root/dev/shm"
mount -t tmpfs -o mode=755,size=32m tmpfs "$root/run"
mount -t tmpfs -o "mode=1777,size=64m" tmpfs "$root/tmp"
mkdir -p "$root/run/sshd" "$root/run/sshhost" "$root/run/lock" "$root/run/old"
mount --bind "$dir/keys" "$root/run/sshhost"

start=/run/sshhost/init
if [ "$kind" = systemd ]; then
  mount -t sysfs -o ro sysfs "$root/sys"
  mount -t cgroup2 none "$root/sys/fs/cgroup"
  mkdir -p "$root/run/systemd/system/multi-user.target.wants"
  cp "$dir/keys/sshd.service" "$root/run/systemd/system/test-sshd.service"
  ln -s ../test-sshd.service "$root/run/systemd/system/multi-user.target.wants/test-sshd.service"
  start=/lib/systemd/systemd
fi
touch "$dir/fs/booted"
cd "$root"
pivot_root . run/old
/run/old/usr/bin/umount -l /run/old
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root container=trueup-test
unset CDPATH OLDPWD PWD
cd /
exec "$start"
