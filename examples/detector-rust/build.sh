#!/bin/sh
# Builds the guest into plugin.wasm without picket. The same source gives the same bytes in every folder: paths of this
# machine, which a panic would name, are replaced. RUSTC and CARGO choose another compiler.
set -eu
cd "$(dirname "$0")"
if [ ! -e .picket/picket-sdk ]; then # `picket plugin build` puts the SDK there; inside of Picket's repository a link does
	mkdir -p .picket
	ln -s ../../../sdk/rust .picket/picket-sdk
fi
here=$(pwd -P)
sysroot=$("${RUSTC:-rustc}" --print sysroot)
target=wasm32-unknown-unknown
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$here/target}"
CARGO_ENCODED_RUSTFLAGS=$(printf -- '--remap-path-prefix=%s=/plugin\037--remap-path-prefix=%s=/rust' "$here" "$sysroot")
export CARGO_ENCODED_RUSTFLAGS
"${CARGO:-cargo}" build --quiet --release --locked --offline --lib --target "$target"
cp "$CARGO_TARGET_DIR/$target/release/slow_transfer.wasm" plugin.wasm
