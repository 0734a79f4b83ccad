#!/usr/bin/env bash
# Sends a running picketd what its OpenAPI document allows and what it forbids, as ADM and as PUB: no answer may be a 5xx.
# schemathesis must be installed (pipx install schemathesis). SECONDS_EACH bounds each of the two runs.
set -euo pipefail
bin=$(realpath "${PICKET_BIN_DIR:-$(dirname "$0")/../bin}")
seconds=${SECONDS_EACH:-150}
dir=$(mktemp -d)
cd "$dir" # it writes what it learned beside itself
trap 'kill "$server" 2>/dev/null && wait "$server" || true; rm -rf "$dir"' EXIT

"$bin/picketd" --data "$dir/data" --listen 127.0.0.1:0 >"$dir/log" 2>&1 &
server=$!
for _ in {1..300}; do
  base=$(grep -oE 'http://[^ ]+/(signin|setup)#' "$dir/log" | head -1 | sed -E 's#/(signin|setup)\##\##' | tr -d '#') && [ -n "$base" ] && break
  sleep 0.2
done
token() { "$bin/picket" token create --data "$dir/data" --role "$1" --name "schemathesis $1"; }
adm=$(token ADM) pub=$(token PUB)
curl -fsS -X PUT -H "Authorization: Bearer $adm" -H 'Content-Type: application/json' "$base/api/v1/settings/rate-limits" \
  -d '{"signin":1000000,"public":0,"refused":0,"read":0,"change":0,"agent":0,"push":0}' >/dev/null

failed=0
for role in ADM PUB; do
  secret=$adm; [ $role = ADM ] || secret=$pub
  echo "as $role, for at most $seconds s"
  # The live channel is no HTTP, the samples of agents are no JSON, the limits stay as they are, and a token that ends itself would end the run.
  timeout --signal=INT "$((seconds + 30))" schemathesis run "$base/api/v1/openapi.json" -H "Authorization: Bearer $secret" \
    --checks not_a_server_error --phases examples,coverage,fuzzing --continue-on-failure --max-time "$seconds" --seed 7 --request-timeout 20 --workers 2 \
    --exclude-path /api/v1/live --exclude-path /api/v1/agent/samples --exclude-path "/api/v1/tokens/{id}" --exclude-path "/api/v1/tokens/{id}/rotate" --exclude-path /api/v1/settings/rate-limits --no-color || failed=1
done
if grep -nE 'panic|"status":5|level=ERROR' "$dir/log"; then failed=1; fi
exit $failed
