#!/bin/sh
# Builds the guest into plugin.wasm. The same source gives the same bytes in every folder: the paths of this machine,
# which a panic would name, are replaced. RUSTC and CARGO choose another compiler.
set -eu
cd "$(dirname "$0")"
here=$(pwd -P)
sdk=$(cd "${PICKET_SDK_RUST:-../../sdk/rust}" && pwd -P)
sysroot=$("${RUSTC:-rustc}" --print sysroot)
target=wasm32-unknown-unknown
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$here/target}"
export CARGO_ENCODED_RUSTFLAGS="$(printf -- '--remap-path-prefix=%s=/plugin\037--remap-path-prefix=%s=/picket-sdk\037--remap-path-prefix=%s=/rust' \
	"$here" "$sdk" "$sysroot")"
"${CARGO:-cargo}" build --quiet --release --locked --offline --target "$target"
cp "$CARGO_TARGET_DIR/$target/release/slow_transfer.wasm" plugin.wasm
