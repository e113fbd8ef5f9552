#!/bin/sh
# Make a layer. In private mount and pid namespaces; $1 the work folder, $2 the folder of apt, $3 the layers below as
# overlay wants them (highest first), $4 packages that are unpacked only, the rest packages. Steps go to
# standard output, the rest to the log on standard error.
set -eu
exec 3>&1 1>&2
work=$1 apt=$2 below=$3 unpacked=$4
shift 4
say() { echo "step $*" >&3; }

mkdir -p "$work/upper" "$work/scratch" "$work/root" "$work/none"
# Volatile: see base.sh. Without these features the upper folder means the same to every later mount.
mount -t overlay -o "lowerdir=$below,upperdir=$work/upper,workdir=$work/scratch,volatile,redirect_dir=off,metacopy=off,index=off" \
    stack "$work/root"
root=$work/root
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom; do
    : >"$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir -p "$root/var/cache/apt/archives" "$root/var/lib/apt" "$root/var/log/apt" "$root/var/cache/debconf" "$root/var/cache/ldconfig"
# Inside the root, where the dpkg in it finds them.
mount --bind "$apt/archives" "$root/var/cache/apt/archives"
# Packages that register manual pages as alternatives fail when the folders are missing.
for section in 1 2 3 4 5 6 7 8; do mkdir -p "$root/usr/share/man/man$section"; done
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
cp "$work/dpkg.cfg" "$root/etc/dpkg/dpkg.cfg.d/slipway-layer"

cat >"$work/apt.conf" <<EOF
Dir::Etc::Parts "$work/none"; Dir::Etc::Main "/dev/null"; Dir::Etc::SourceParts "$work/none"; Dir::Etc::PreferencesParts "$work/none";
Dir::Etc::Preferences "/dev/null"; Dir::Etc::SourceList "$apt/sources.list";
Dir::State::Lists "$apt/lists"; Dir::State::status "$root/var/lib/dpkg/status"; Dir::State::extended_states "$root/var/lib/apt/extended_states";
Dir::Cache "$work"; Dir::Cache::pkgcache ""; Dir::Cache::srcpkgcache "$apt/srcpkgcache.bin"; Dir::Cache::archives "$root/var/cache/apt/archives";
Dir::Log "$root/var/log/apt";
DPkg::Chroot-Directory "$root"; DPkg::Use-Pty "false";
APT::Install-Recommends "false"; APT::Sandbox::User "root"; APT::Keep-Downloaded-Packages "true"; APT::Get::Assume-Yes "true";
Acquire::Languages "none"; Debug::NoLocking "true"; quiet "1";
EOF
cat "$apt/acquire.conf" >>"$work/apt.conf"
export APT_CONFIG="$work/apt.conf" DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true LC_ALL=C.UTF-8

# apt's locks are off, because each layer has its own dpkg; only the shared folder of archives needs one.
flock "$apt/archives.lock" apt-get -o APT::Status-Fd=3 --download-only install "$@" $unpacked
apt-get -o APT::Status-Fd=3 --no-download install "$@"

chroot "$root" dpkg-query -W -f '${Package} ${Version}\n' >"$work/packages"
if [ -n "$unpacked" ]; then
    say "unpacking $unpacked"
    cat "$root/etc/dpkg/dpkg.cfg.d/slipway" "$work/dpkg.cfg" | sed -n 's/^path-exclude=/./p' >"$work/exclude"
    # What apt would install, as `Inst NAME (VERSION SUITE [ARCHITECTURE])`; the colon of an epoch is escaped in file names.
    apt-get --simulate --no-download install $unpacked |
        sed -n 's/^Inst \([^ ]*\) (\([^ ]*\) .*\[\([a-z0-9]*\)\]).*/\1 \2 \3/p' >"$work/unpacked"
    while read -r name version arch; do
        deb=$apt/archives/${name}_$(echo "$version" | sed 's/:/%3a/')_$arch.deb
        dpkg-deb --fsys-tarfile "$deb" >"$work/tar"
        tar -C "$root" -xpf "$work/tar" --keep-directory-symlink --exclude-from="$work/exclude"
        echo "$name $version" >>"$work/packages"
    done <"$work/unpacked"
fi
umount -R "$root"
# In the upper folder, not in the mounted root: there, removing what the layers below have would leave marks.
upper=$work/upper
rm -rf "$upper/usr/sbin/policy-rc.d" "$upper"/var/cache/* "$upper"/var/log/* "$upper/var/lib/apt" "$upper"/tmp/* "$upper"/run/* \
    "$upper"/dev "$upper"/proc "$upper"/var/lib/dpkg/*-old "$upper"/etc/*- "$upper"/etc/dpkg/dpkg.cfg.d/slipway-layer "$upper/etc/apt"
# The list of libraries of one layer would hide those of another above or below it; the loader knows the folders anyway.
rm -f "$upper/etc/ld.so.cache"

# overlayfs marks a new folder as opaque, which hides the folder of that name in every layer below, also in those that
# this one was not made on. Folders made anew carry no marks; files are linked, not copied. No package removes a folder
# of another and makes it again, which alone would need the mark.
cp -dR --preserve=mode,ownership,timestamps,links --link "$upper" "$work/unmarked"
rm -rf "$upper"
mv "$work/unmarked" "$upper"
