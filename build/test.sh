#!/usr/bin/env bash
# Runs every test of the module on every Envoy of ENVOY_VERSIONS. The last line
# printed counts the specs: "N passed, N failed".
#
# KUMA_MIRROR_TEST_ENVOYS, if set, names the Envoys instead (VERSION=PATH:...).
# GINKGO_FLAGS go to ginkgo, e.g. GINKGO_FLAGS='--focus=mirror --procs=1'.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -z "${KUMA_MIRROR_TEST_ENVOYS:-}" ]; then
	# shellcheck disable=SC2086 # a list
	KUMA_MIRROR_TEST_ENVOYS=$(python3 build/envoy/envoy.py tests $ENVOY_VERSIONS)
fi
export KUMA_MIRROR_TEST_ENVOYS
echo "Envoys: ${KUMA_MIRROR_TEST_ENVOYS//:/, }"

CHROME=$(node build/chrome/chrome.mjs)
export CHROME

race=--race
if [ "$(go env CGO_ENABLED)" != 1 ]; then
	race=
	echo 'Warning: no C compiler, which the race detector needs: testing without it.' >&2
fi

# Packages of this module only: kuma/ is a module of its own.
root=$PWD
packages=()
while IFS= read -r dir; do
	packages+=(".${dir#"$root"}")
done < <(go list -e -f '{{if or .TestGoFiles .XTestGoFiles}}{{.Dir}}{{end}}' ./...)
echo "Building and running ${#packages[@]} suites${race:+ with the race detector} ..."

reports=$root/.cache/test
rm -rf "$reports"
mkdir -p "$reports"
status=0
color=
[ -t 1 ] || color=--no-color
# shellcheck disable=SC2086 # flags
go tool ginkgo run -p $race $color --randomize-all --randomize-suites --fail-on-pending --keep-going \
	--timeout=30m --poll-progress-after=60s --output-dir="$reports" --json-report=report.json \
	${GINKGO_FLAGS:-} "${packages[@]}" </dev/null || status=$?

python3 build/test_summary.py "$reports/report.json" "$status"
