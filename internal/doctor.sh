#!/usr/bin/env bash
# Says what is missing before a build starts, and how to get it.
set -u
fail=0
say() { printf 'make: %s\n' "$1" >&2; fail=1; }

command -v go >/dev/null || say "go is missing: install Go 1.26 or newer (see README, 'Build')"
if command -v go >/dev/null; then
  have=$(go env GOVERSION | sed 's/^go//')
  [ "$(printf '%s\n1.26\n' "$have" | sort -V | head -1)" = 1.26 ] || say "Go $have is too old: 1.26 or newer is needed"
fi
command -v gcc >/dev/null || command -v cc >/dev/null || say "a C compiler is missing: apt-get install gcc"
command -v g++ >/dev/null || say "a C++ runtime to link DuckDB is missing: apt-get install g++"
if command -v node >/dev/null; then
  [ "$(node --version | sed 's/^v\([0-9]*\).*/\1/')" -ge 20 ] || say "Node $(node --version) is too old: 20 or newer is needed"
else
  say "node is missing: install Node 20 or newer (see README, 'Build')"
fi
command -v npm >/dev/null || say "npm is missing: it comes with Node"
exit $fail
