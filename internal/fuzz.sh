#!/usr/bin/env bash
# Runs each fuzz target of both modules for a while; finds land in testdata/fuzz and are to be committed.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-20s}
for module in . sdk; do
  (cd "$module" && git grep -l '^func Fuzz' -- '*_test.go' | sort -u | while read -r file; do
    [ "$module" = . ] && [ "${file#sdk/}" != "$file" ] && continue
    grep -o '^func Fuzz[A-Za-z0-9_]*' "$file" | sed 's/^func //' | while read -r target; do
      printf '%s %s\n' "$(dirname "$file")" "$target"
      go test "./$(dirname "$file")" -run '^$' -fuzz "^$target\$" -fuzztime "$time"
    done
  done)
done
