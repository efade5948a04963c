#!/usr/bin/env bash
# Checks the sources without running them. Every check runs; the exit code is 1
# if any of them failed.
set -uo pipefail
cd "$(dirname "$0")/.."

failed=()
check() {
	local name=$1
	shift
	echo "-- $name"
	"$@" </dev/null || failed+=("$name")
}

formatted() {
	local files
	files=$("$(go env GOROOT)/bin/gofmt" -l -s .) || return 1
	[ -z "$files" ] && return
	echo "gofmt -s -w these files:"
	echo "$files"
	return 1
}

# The root module has to build where Kuma's modules cannot be had.
without_kuma() {
	! grep -nE 'github\.com/kumahq/' go.mod
}

# The commands that talk to a control plane are for other systems, too.
for_windows() {
	GOOS=windows CGO_ENABLED=0 go build -o /dev/null ./cmd/kuma-mirror
}

check gofmt formatted
check 'go vet' go vet ./...
check 'build for Windows' for_windows
check staticcheck go tool -modfile=tools.mod staticcheck ./...
check 'buf lint' go tool -modfile=tools.mod buf lint
check 'go mod tidy' go mod tidy -diff
check 'go.mod without Kuma' without_kuma
check promtool build/check-alerts.sh

if [ ${#failed[@]} -gt 0 ]; then
	printf 'lint failed: %s\n' "$(IFS=,; echo "${failed[*]}")"
	exit 1
fi
echo 'lint passed'
