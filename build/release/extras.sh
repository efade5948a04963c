#!/usr/bin/env bash
# Writes the completions and the man pages of kuma-mirror to the directory $1.
set -euo pipefail
dir=${1:?usage: build/release/extras.sh DIRECTORY}
rm -rf "$dir"
mkdir -p "$dir/completions" "$dir/man"
dir=$(cd "$dir" && pwd)
cd "$(dirname "$0")/../.."
go build -o "$dir/kuma-mirror" ./cmd/kuma-mirror
trap 'rm -f "$dir/kuma-mirror"' EXIT
for shell in bash zsh fish powershell; do
	"$dir/kuma-mirror" completion "$shell" >"$dir/completions/kuma-mirror.$shell"
done
# The same pages from the same commit.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct) "$dir/kuma-mirror" man "$dir/man"
