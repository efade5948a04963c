#!/usr/bin/env bash
# Fails if `make generate` or `make notice` would change, add or leave behind a file. It works
# on a copy, so that uncommitted work is judged as it stands.
set -euo pipefail
cd "$(dirname "$0")/.."

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir -p "$tmp/is/api" "$tmp/should-be"
(cd api && find . -name '*.pb.go' -print0 | tar -cf - --null -T -) | tar -xf - -C "$tmp/is/api"
go tool -modfile=tools.mod buf generate -o "$tmp/should-be"
if ! diff -r -u "$tmp/is" "$tmp/should-be" >"$tmp/diff"; then
	echo "Generated files are not current: run 'make generate' (and delete those that have no .proto any more)."
	sed "s#$tmp/##g" "$tmp/diff" | head -40
	exit 1
fi
build/notice.py >"$tmp/NOTICE"
if ! diff -u NOTICE "$tmp/NOTICE" >"$tmp/diff"; then
	echo "NOTICE is not current: run 'make notice'."
	head -40 "$tmp/diff"
	exit 1
fi
echo "Generated files are current."
