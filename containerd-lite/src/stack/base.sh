#!/bin/sh
# Make the base layer. In private mount and pid namespaces; $1 the work folder, $2 the folder of apt, $3 the codename,
# $4 the packages, separated by commas. Steps go to
# standard output, the rest to the log on standard error.
set -eu
exec 3>&1 1>&2
work=$1 apt=$2 codename=$3 packages=$4
say() { echo "step $*" >&3; }

mkdir -p "$work/empty" "$work/upper" "$work/scratch" "$work/root"
# A volatile overlay ignores fsync, which is most of what dpkg waits for. What counts is synced once, at the end.
mount -t overlay -o "lowerdir=$work/empty,upperdir=$work/upper,workdir=$work/scratch,volatile" stack "$work/root"

cat >"$work/setup" <<'EOF'
#!/bin/sh
set -eu
for dir in bin sbin lib; do mkdir -p "$1/usr/$dir"; [ -e "$1/$dir" ] || ln -s "usr/$dir" "$1/$dir"; done
case $(dpkg --print-architecture) in
    amd64) for dir in lib32 lib64 libx32; do mkdir -p "$1/usr/$dir"; [ -e "$1/$dir" ] || ln -s "usr/$dir" "$1/$dir"; done ;;
esac
mkdir -p "$1/etc/apt/preferences.d" "$1/var/lib/apt"
printf 'Package: usrmerge\nPin: release *\nPin-Priority: -1\n' >"$1/etc/apt/preferences.d/slipway"
cp -a "$STACK_APT/lists" "$1/var/lib/apt/"
EOF
cat >"$work/unpacked" <<'EOF'
#!/bin/sh
set -eu
mkdir -p "$1/etc/dpkg/dpkg.cfg.d"
cp "$STACK_WORK/dpkg.cfg" "$1/etc/dpkg/dpkg.cfg.d/slipway"
rm -rf "$1"/usr/share/man/* "$1"/usr/share/doc/* "$1"/usr/share/info/* "$1"/usr/share/locale/* "$1"/usr/share/lintian/*
EOF
chmod 755 "$work/setup" "$work/unpacked"
# Not as dpkg options: mmdebstrap would then filter every archive in a slow script.
cat >"$work/dpkg.cfg" <<'EOF'
force-unsafe-io
path-exclude=/usr/share/man/*
path-exclude=/usr/share/doc/*
path-exclude=/usr/share/info/*
path-exclude=/usr/share/locale/*
path-exclude=/usr/share/lintian/*
EOF

say "unpacking the essential packages"
STACK_APT=$apt STACK_WORK=$work TMPDIR=$work mmdebstrap --verbose --mode=root --variant=essential --format=directory \
    --include="$packages" --aptopt="$apt/acquire.conf" --aptopt='APT::Install-Recommends "false"' \
    --aptopt='Acquire::Languages "none"' --setup-hook="$work/setup" --extract-hook="$work/unpacked" \
    "$codename" "$work/root" "$apt/sources.list" 2>&1 | while IFS= read -r line; do
    printf '%s\n' "$line"
    case $line in
        'I: installing essential'*) say "installing the essential packages" ;;
        'I: installing remaining'*) say "installing certificates and time zones" ;;
        'I: success'*) : >"$work/made" ;;
    esac
done
[ -e "$work/made" ]

root=$work/root
chroot "$root" dpkg-query -W -f '${Package} ${Version}\n' >"$work/packages"
echo 'app:x:1000:1000:app:/app:/bin/bash' >>"$root/etc/passwd"
echo 'app:x:1000:' >>"$root/etc/group"
echo 'app:!:1::::::' >>"$root/etc/shadow"
mkdir -p "$root/app" "$root/build" "$root/cache" "$root/usr/local/bin"
chown 1000:1000 "$root/app" "$root/build" "$root/cache"
# Where the packages came from is this host's matter, and an address may hold a password.
rm -rf "$root/etc/apt" "$root"/dev/* "$root"/run/* "$root"/tmp/* "$root"/var/cache/* "$root"/var/log/* "$root"/var/lib/apt \
    "$root"/etc/passwd- "$root"/etc/group- "$root"/etc/shadow- "$root"/etc/resolv.conf "$root"/etc/hostname "$root"/etc/machine-id \
    "$root"/var/lib/dpkg/*-old "$root"/var/lib/systemd
: >"$root/etc/resolv.conf"
: >"$root/etc/hostname"
: >"$root/etc/hosts"
: >"$root/etc/machine-id"
# What the namespace leaves behind is the upper folder.
umount "$root"
