# How the root file system of each kind of host is made. root=DIR is empty.

# Debian: an overlay of this machine's root. What is written stays private.
root_debian() {
  mount -t overlay overlay -o "lowerdir=/,upperdir=$dir/fs/up,workdir=$dir/fs/work" "$root"
  # What this machine's administrator set up is not part of a fresh host.
  rm -f "$root/root/.bashrc" "$root/root/.profile" "$root/root/.ssh/authorized_keys"
  if [ -d "$dir/disk" ]; then mkdir -p "$root/srv/disk"; mount --bind "$dir/disk" "$root/srv/disk"; fi
}

# systemd: the same, with this machine's own services switched off.
root_systemd() {
  root_debian
  rm -rf "$root"/etc/systemd/system/*.wants "$root"/etc/systemd/system/*.requires "$root/etc/fstab"
  mkdir -p "$root/etc/systemd/system"
  : >"$root/etc/machine-id"
  : >"$root/etc/fstab"
  for unit in systemd-udevd.service systemd-udevd-control.socket systemd-udevd-kernel.socket \
    systemd-udev-trigger.service systemd-logind.service systemd-modules-load.service systemd-sysctl.service \
    systemd-remount-fs.service systemd-binfmt.service systemd-networkd.service systemd-resolved.service \
    getty.target tmp.mount dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount \
    sys-kernel-tracing.mount sys-fs-fuse-connections.mount sys-kernel-config.mount; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
  done
  # Its processes live in a control group of their own.
  mkdir "$dir/fs/cgroup"
  mount -t cgroup2 none "$dir/fs/cgroup"
  mkdir "$dir/fs/cgroup/$cgroup"
  echo 0 >"$dir/fs/cgroup/$cgroup/cgroup.procs"
}

# small_root has the libraries and sshd alone: no package manager, no bash.
small_root() {
  mount --bind "$root" "$root"
  mkdir -p "$root/usr/bin" "$root/usr/sbin" "$root/usr/lib" "$root/etc" "$root/root" "$root/var/empty"
  for link in bin sbin lib; do ln -s "usr/$link" "$root/$link"; done
  mount --bind -o ro /usr/lib "$root/usr/lib"
  if [ -e /lib64 ]; then ln -s usr/lib64 "$root/lib64"; mkdir "$root/usr/lib64"; mount --bind -o ro /usr/lib64 "$root/usr/lib64"; fi
  cp /usr/sbin/sshd "$root/usr/sbin/"
  cp /etc/ld.so.cache "$root/etc/"
  printf 'root:x:0:0:root:/root:/bin/sh\nsshd:x:100:65534::/run/sshd:/usr/sbin/nologin\nnobody:x:65534:65534::/:/usr/sbin/nologin\n' >"$root/etc/passwd"
  printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
  printf 'root:*:19000:0:99999:7:::\n' >"$root/etc/shadow"
  chmod 700 "$root/root"; chmod 640 "$root/etc/shadow"
}

# busybox: all programs are busybox.
root_busybox() {
  small_root
  cp "$(command -v busybox)" "$root/usr/bin/busybox"
  chroot "$root" /usr/bin/busybox --install -s /usr/bin
}

# coreutils: dash and coreutils, and nothing else: no grep, sed, awk or find.
root_coreutils() {
  small_root
  cp /bin/dash "$root/usr/bin/sh"
  dpkg -L coreutils | while read -r file; do
    case $file in */bin/*) cp -P "$file" "$root/usr/bin/${file##*/}" ;; esac
  done
}
