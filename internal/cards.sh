#!/usr/bin/env bash
# Publishes the first-party plugins with all that fills their cards: the conformance kit, detectors over captures, and
# each plugin built again from a copy of this tree and compared. What was found out is kept in bin/evidence by the bytes
# that it is about, so that the next build of the same bytes has it at once.
#
# PICKET_VULNERABILITIES names a database of known vulnerabilities (docs/publishing.md); without it that gate is not
# checked, and no card is better than bronze. PICKET_CAPTURES is the folder of public captures that
# examples/datasets/public-captures.tsv names; without it our own small ones are used.
set -euo pipefail
registry=${1:?usage: cards.sh REGISTRY KEYS} keys=${2:?usage: cards.sh REGISTRY KEYS}
cd "$(dirname "$0")/.."
captures=${PICKET_CAPTURES:-../shared/pcaps}

again=$(mktemp -d)
trap 'chmod -R u+w "$again"; rm -rf "$again"' EXIT
args=(--test --evidence bin/evidence)
if [ -n "${PICKET_VULNERABILITIES:-}" ]; then
  args+=(--vulnerabilities "$PICKET_VULNERABILITIES")
else
  echo "    no PICKET_VULNERABILITIES: known vulnerabilities are not checked" >&2
fi
if [ -e "$captures/INDEX.tsv" ]; then
  args+=(--captures "$captures" --labels examples/datasets/public-captures.tsv)
else
  echo "    no public captures in $captures: detectors are measured on our own" >&2
  args+=(--captures . --labels examples/datasets/own-captures.tsv)
fi
if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
  mkdir "$again/tree"
  git ls-files -z --cached --others --exclude-standard -- ':!web' ':!docs' |
    tar --create --null --files-from=- --ignore-failed-read 2>/dev/null | tar --extract --directory "$again/tree"
  for manifest in "$again"/tree/plugins/*/*/plugin.yaml; do
    id=$(sed -n 's/^id: *//p' "$manifest")
    mkdir -p "$again/sources/$(dirname "$id")"
    ln -s "$(dirname "$manifest")" "$again/sources/$id"
  done
  args+=(--sources "$again/sources" --build-cache "$again/cache")
else
  echo "    not a checkout: plugins are not built again" >&2
fi
bin/picket plugin publish --registry "$registry" --keys "$keys" "${args[@]}" $(dirname plugins/*/*/plugin.yaml plugins/*/*/model/plugin.yaml)
