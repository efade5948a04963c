#!/usr/bin/env bash
# Checks what examples/operate has for Prometheus with Prometheus' own tool, and
# runs the tests of the alerts. Service discovery is left out of the tool: it is
# most of what would have to be built.
set -euo pipefail
cd "$(dirname "$0")/.."

promtool() {
	GOFLAGS=-tags=remove_all_sd go tool -modfile=build/promtool.mod promtool "$@"
}

promtool check rules --lint=all --lint-fatal examples/operate/alerts.yaml
promtool test rules e2e/operate/testdata/alerts.yaml

# prometheus.yml names files of a machine that is set up.
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/prometheus" "$dir/kuma-mirror"
touch "$dir/prometheus/kuma-mirror.token" "$dir/kuma-mirror/ca.crt"
cp examples/operate/alerts.yaml "$dir/prometheus/kuma-mirror-alerts.yaml"
sed "s#/etc/#$dir/#" examples/operate/prometheus.yml >"$dir/prometheus.yml"
promtool check config --lint=all --lint-fatal "$dir/prometheus.yml"
