#!/bin/sh
# Assembles the file tree of the image: Python, the agent and what they need, without a shell, a package manager or
# anything that is setuid. As root, on a Debian with mmdebstrap and pip, in a container or not:
#
#   sh deploy/oci/rootfs.sh TREE WHEEL LOCK
set -eu
tree=$1
wheel=$2
lock=$3
suite=bookworm
version=3.11
place=/usr/local/lib/python$version/dist-packages
packages=$tree$place

# `extract` unpacks packages and what they depend on, and runs none of their scripts.
mmdebstrap --quiet --mode=chrootless --variant=extract --aptopt='APT::Install-Recommends "false"' \
    --include="python$version-minimal,libpython$version-stdlib,libstdc++6,ca-certificates" "$suite" "$tree" >/dev/null

# Nothing whose hash isn't in the lock file; the agent itself comes from the wheel that lies here.
python3 -m pip install --quiet --no-cache-dir --disable-pip-version-check --no-compile --only-binary :all: \
    --python-version "$version" --implementation cp --target "$packages" --no-deps --require-hashes --requirement "$lock"
python3 -m pip install --quiet --no-cache-dir --disable-pip-version-check --no-compile --only-binary :all: \
    --python-version "$version" --implementation cp --target "$packages" --no-deps --no-index "$wheel"
rm -rf "$packages/bin"

# What only builds, explains or tests.
cd "$tree"
library=usr/lib/python$version
rm -rf boot dev home media mnt opt proc run sys root srv tmp var/cache var/lib var/log etc/apt etc/dpkg etc/cron.daily etc/init.d \
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

# The root is read-only where it runs: compiled now or at every start. By hash, so that the same sources make the same.
chroot . "/usr/bin/python$version" -m compileall -q --invalidation-mode unchecked-hash "/$library" /usr/local/lib
