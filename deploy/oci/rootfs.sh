#!/bin/sh
# Assembles the file tree of the image: Python, the agent and what they need, without a shell, a package manager or
# anything that is setuid. As root, on a Debian with mmdebstrap and pip, in a container or not:
#
#   sh deploy/oci/rootfs.sh TREE WHEEL LOCK
#
# SNAPSHOT, such as 20261101T000000Z, takes Debian's packages as they were then, from snapshot.debian.org or a mirror of it
# (SNAPSHOTS); unless it is set they are today's, with all that Debian has mended.
set -eu
tree=$1
wheel=$2
lock=$3
suite=bookworm
version=3.11
place=/usr/local/lib/python$version/dist-packages
packages=$tree$place

# What dpkg would note of each package: its own description with the hash of its file, what is in it, and their hashes.
note='mkdir "$1.noted" && for deb in "$1"/var/cache/apt/archives/*.deb; do
    noted="$1.noted/$(dpkg-deb --field "$deb" Package)"
    { dpkg-deb --field "$deb" && sha256sum "$deb" | sed "s/^/SHA256: /; s/ *[^ ]*$//"; } >"$noted.control"
    dpkg-deb --fsys-tarfile "$deb" | tar --list | sed "s|^\./||" >"$noted.files"
    dpkg-deb --info "$deb" md5sums >"$noted.md5sums" 2>/dev/null || true
done'

# Whether any of the files exists whose names come in.
left() {
    while IFS= read -r file; do
        if [ -e "$file" ] || [ -L "$file" ]; then return 0; fi
    done
    return 1
}

# `extract` unpacks packages and what they depend on, and runs none of their scripts. base-files says which Debian it is.
if [ -n "${SNAPSHOT:-}" ]; then
    # Such an index is older than it says that it may be; it is signed all the same.
    archive="deb [check-valid-until=no] ${SNAPSHOTS:-http://snapshot.debian.org/archive}"
    set -- "$archive/debian/$SNAPSHOT $suite main" "$archive/debian/$SNAPSHOT $suite-updates main" \
        "$archive/debian-security/$SNAPSHOT $suite-security main"
else
    set --
fi
mmdebstrap --quiet --mode=chrootless --variant=extract --aptopt='APT::Install-Recommends "false"' --extract-hook="$note" \
    --include="python$version-minimal,libpython$version-stdlib,libstdc++6,ca-certificates,base-files" \
    "$suite" "$tree" "$@" >/dev/null

# Nothing whose hash isn't in the lock file; the agent itself comes from the wheel that lies here.
python3 -m pip install --quiet --no-cache-dir --disable-pip-version-check --no-compile --only-binary :all: \
    --python-version "$version" --implementation cp --target "$packages" --no-deps --require-hashes --requirement "$lock"
python3 -m pip install --quiet --no-cache-dir --disable-pip-version-check --no-compile --only-binary :all: \
    --python-version "$version" --implementation cp --target "$packages" --no-deps --no-index "$wheel"
rm -rf "$packages/bin"

# What only builds, explains or tests.
cd "$tree"
noted=$(pwd).noted
library=usr/lib/python$version
rm -rf boot dev home media mnt opt proc run sys root srv tmp var etc/alternatives etc/apt etc/default etc/dpkg etc/cron.daily etc/init.d \
    etc/issue etc/issue.net etc/profile.d etc/rmt etc/skel etc/update-motd.d lib/systemd usr/lib/mime usr/lib/ssl/misc usr/libexec \
    usr/share/base-files usr/share/bash-completion usr/share/dpkg usr/share/menu usr/share/pixmaps usr/share/polkit-1 usr/src \
    etc/ca-certificates etc/perl etc/resolv.conf etc/hostname etc/fstab etc/logrotate.d etc/debconf.conf usr/games usr/include usr/sbin sbin usr/share/man usr/share/locale usr/share/perl* usr/share/lintian \
    usr/share/bug usr/share/zoneinfo usr/lib/*/perl* usr/lib/*/gconv usr/lib/apt usr/lib/dpkg usr/share/info usr/share/debconf \
    "$library"/test "$library"/idlelib "$library"/lib2to3 "$library"/ensurepip "$library"/pydoc_data "$library"/tkinter \
    "$library"/distutils "$library"/turtledemo "$library"/venv
find usr/share/doc -type f ! -name copyright -delete
find usr/bin bin -mindepth 1 ! -name "python$version" -delete
# Sources of what is compiled, types for editors, and what Pygments knows of languages that no traceback is in.
find ".$place" -type f \( -name '*.pyx' -o -name '*.pxd' -o -name '*.pxi' -o -name '*.pyi' -o -name '*.[ch]' -o -name '*.proto' \) -delete
find ".$place/pygments/lexers" -name '_*_builtins.py' -delete
find . -name __pycache__ -prune -exec rm -r {} +
find . -xdev -type f -perm /6000 -exec chmod a-s {} +

# What is expected of any root.
mkdir -p dev proc sys run tmp etc/ssl/certs etc/spoa-authz/policies usr/local/bin usr/share/doc/spoa-authz \
    var/lib/spoa-authz var/log/spoa-authz run/spoa-authz
chmod 1777 tmp
find usr/share/ca-certificates -name '*.crt' -exec cat {} + > etc/ssl/certs/ca-certificates.crt
rm -rf usr/share/ca-certificates
printf 'root:x:0:0:root:/:/nonexistent\nspoa-authz:x:65532:65532::/var/lib/spoa-authz:/nonexistent\n' > etc/passwd
printf 'root:x:0:\nspoa-authz:x:65532:\n' > etc/group
printf 'hosts: files dns\n' > etc/nsswitch.conf
printf '127.0.0.1 localhost\n::1 localhost\n' > etc/hosts
chown 65532:65532 var/lib/spoa-authz var/log/spoa-authz run/spoa-authz
chmod 0700 var/lib/spoa-authz
printf '#!/usr/bin/python%s\nfrom spoa.cli import main\nmain()\n' "$version" > usr/local/bin/spoa-authz
chmod 0755 usr/local/bin/spoa-authz

# Packages of which something is left, as scanners read them where there is no dpkg: /var/lib/dpkg/status.d.
mkdir -p var/lib/dpkg/status.d
echo etc/ssl/certs/ca-certificates.crt >>"$noted/ca-certificates.files"  # made of it, above
for control in "$noted"/*.control; do
    name=$(basename "$control" .control)
    if grep -v -e '/$' -e '^usr/share/doc/' "$noted/$name.files" | left; then
        cp "$control" "var/lib/dpkg/status.d/$name"
        while read -r digest file; do
            if [ -f "$file" ]; then printf '%s  %s\n' "$digest" "$file"; fi
        done <"$noted/$name.md5sums" >"var/lib/dpkg/status.d/$name.md5sums"
    fi
done
rm -r "$noted"

# The root is read-only where it runs: compiled now or at every start. By hash, so that the same sources make the same.
chroot . "/usr/bin/python$version" -m compileall -q --invalidation-mode unchecked-hash "/$library" /usr/local/lib
