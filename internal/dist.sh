#!/usr/bin/env bash
# Makes what people install: dist/picket-VERSION-linux-ARCH.tar.gz and a .deb. The first-party plugins are signed under
# a release root, whose hash is compiled into the programs; its keys come from PICKET_RELEASE_KEYS and never enter a
# package. Without that variable a ceremony makes new keys under dist/release-keys: good for a trial build, and said so.
set -euo pipefail
cd "$(dirname "$0")/.."
version=${1:?usage: dist.sh VERSION}
arch=$(go env GOARCH)
name=picket-$version-linux-$arch
keys=${PICKET_RELEASE_KEYS:-dist/release-keys}
stage=dist/stage/$name
step() { printf '\033[1m==>\033[0m %s\n' "$1"; }

chmod -R u+w dist/stage 2>/dev/null || true
rm -rf dist/stage && mkdir -p "$stage"
make web binaries >/dev/null # the tools that sign

step "release registry"
if [ ! -d "$keys" ]; then
  echo "    no PICKET_RELEASE_KEYS: a trial ceremony makes $keys"
fi
# A package is as fresh as its release: nobody signs again on the machine that unpacks it, so its signatures last a year.
bin/picket registry init --dir "$stage/registry" --keys "$keys" --one-folder \
  --expire timestamp=8760h --expire snapshot=8760h --expire security=8760h --expire official=8760h --expire targets=8760h
internal/cards.sh "$stage/registry" "$keys"
cp "$stage/registry/metadata/1.root.json" "$stage/root.json"
root=$(sha256sum "$stage/root.json" | cut -d' ' -f1)

step "release programs"
platforms=${PICKET_AGENT_PLATFORMS:-linux/amd64 linux/arm64 linux/arm darwin/amd64 darwin/arm64 windows/amd64}
make agents BIN="$stage" VERSION="$version" RELEASE=true ROOT_SHA256="$root" AGENT_PLATFORMS="$platforms" >/dev/null
bin/picket plugin publish --registry "$stage/registry" --keys "$keys" --out dist/agent "$stage/agent"
rm -rf "$stage/agent"
cp LICENSE CHANGELOG.md "$stage/"
cp examples/deploy/README.md "$stage/README.md"
rm -rf "$stage/registry-build" # the signer's build cache
find "$stage" -maxdepth 1 -name '.*' -type f -delete
if find "$stage" -name '*key*' -not -path '*/sample/*' | grep -q .; then
  echo "dist: a key is in the package, stopping" >&2
  exit 1
fi

step "tarball"
tar --sort=name --owner=0 --group=0 --numeric-owner -C dist/stage -czf "dist/$name.tar.gz" "$name"

step "deb"
root_dir=dist/stage/deb
mkdir -p "$root_dir/DEBIAN" "$root_dir/usr/lib/picket" "$root_dir/usr/bin" "$root_dir/usr/lib/systemd/system" "$root_dir/usr/share/doc/picket"
cp -a "$stage"/. "$root_dir/usr/lib/picket/"
mv "$root_dir/usr/lib/picket/LICENSE" "$root_dir/usr/share/doc/picket/copyright"
mv "$root_dir/usr/lib/picket/CHANGELOG.md" "$root_dir/usr/lib/picket/README.md" "$root_dir/usr/share/doc/picket/"
for p in picketd picket-agent picket; do ln -s "../lib/picket/$p" "$root_dir/usr/bin/$p"; done
cp examples/deploy/systemd/*.service "$root_dir/usr/lib/systemd/system/"
cp examples/deploy/debian/postinst examples/deploy/debian/prerm "$root_dir/DEBIAN/"
cat >"$root_dir/DEBIAN/control" <<CONTROL
Package: picket
Version: $version
Architecture: $(dpkg --print-architecture)
Maintainer: The Picket founders <maintainers@picketwatch.invalid>
Section: net
Priority: optional
Depends: libc6, libstdc++6, libgcc-s1, adduser
Installed-Size: $(du -sk "$root_dir/usr" | cut -f1)
Homepage: https://github.com/picketwatch/picket
Description: open network watch in which everything is a signed plugin
 Collects metrics, discovers devices, detects attacks in network captures and
 tells people about them. Each collector, discovery, detector and notifier is a
 signed plugin that runs in a process of its own.
CONTROL
fakeroot dpkg-deb --build -Zgzip "$root_dir" "dist/picket_${version}_$(dpkg --print-architecture).deb" >/dev/null
ls -lh dist/*.tar.gz dist/*.deb | awk '{print "    "$5"  "$9}'
