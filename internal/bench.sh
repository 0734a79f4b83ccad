#!/usr/bin/env bash
# Prints every benchmark as a ratio within one run, with the machine named. docs/benchmarks.md keeps the figures.
set -euo pipefail
cd "$(dirname "$0")/.."
printf 'machine: %s, %s cores, %s GB, Linux %s, %s\n\n' \
  "$(awk -F': ' '/model name/{print $2; exit}' /proc/cpuinfo)" "$(nproc)" \
  "$(awk '/MemTotal/{printf "%.0f", $2/1048576}' /proc/meminfo)" "$(uname -r)" "$(go env GOVERSION)"
exec go run ./internal/bench "$@"
