#!/usr/bin/env python3
"""Prints NOTICE: the licences of what is linked into kuma-mirror.

Usage: build/notice.py > NOTICE, in the root of the repository.
The modules are those of `go list -deps` for every platform that is released.
"""
import os
import pathlib
import re
import subprocess
import sys

PLATFORMS = ["linux/amd64", "linux/arm64", "darwin/arm64", "windows/amd64"]
# What a licence's text contains, the first that matches.
LICENCES = [
    ("Apache-2.0", "Apache License"),
    ("MPL-2.0", "Mozilla Public License"),
    ("ISC", "Permission to use, copy, modify, and/or distribute|Permission to use, copy, modify, and distribute"),
    ("MIT", "Permission is hereby granted, free of charge"),
    ("BSD-3-Clause", "Neither the name|names? of (its|the) contributors may"),
    ("BSD-2-Clause", "Redistributions in binary form"),
]


def modules():
    """The linked modules by path: version and directory."""
    found = {}
    for platform in PLATFORMS:
        goos, goarch = platform.split("/")
        out = subprocess.run(
            ["go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}", "./cmd/kuma-mirror"],
            env={**os.environ, "GOOS": goos, "GOARCH": goarch, "CGO_ENABLED": "0"}, check=True, text=True, capture_output=True).stdout
        for line in out.splitlines():
            if line:
                path, version, directory = line.split(" ", 2)
                found[path] = (version, pathlib.Path(directory))
    goroot = subprocess.run(["go", "env", "GOROOT"], check=True, text=True, capture_output=True).stdout.strip()
    found["std (Go)"] = ("", pathlib.Path(goroot))
    return dict(sorted(found.items()))


def texts(directory, pattern):
    return [f.read_text(errors="replace").strip().replace("\r\n", "\n")
            for f in sorted(directory.iterdir()) if f.is_file() and re.fullmatch(pattern, f.name, re.IGNORECASE)]


def spdx(text):
    flat = " ".join(text.split())
    for name, pattern in LICENCES:
        if re.search(pattern, flat):
            return name
    return ""


def main():
    rows, by_text, notices, unknown = [], {}, [], []
    for path, (version, directory) in modules().items():
        licences = texts(directory, r"(UN)?(LICEN[CS]E|COPYING)(\.(txt|md))?(-.*)?")
        names = sorted({spdx(text) for text in licences})
        if not names or "" in names:
            unknown.append(f"{path} {version}")
        rows.append((path, version, " and ".join(names)))
        for text in licences:
            by_text.setdefault(text, []).append(path)
        notices += [(path, text) for text in texts(directory, r"NOTICE(\.(txt|md))?")]
    if unknown:
        sys.exit("build/notice.py: no licence, or an unknown one: " + ", ".join(unknown))
    print("kuma-mirror is licensed under the Apache License 2.0, see LICENSE.\n\nIts programs contain these Go modules:\n")
    for path, version, names in rows:
        print(f"  {path} {version}: {names}".replace(" : ", ": "))
    for path, text in notices:
        print(f"\n{'=' * 80}\nNotice of {path}\n\n{text}")
    for text, paths in by_text.items():
        print(f"\n{'=' * 80}\nLicence of {', '.join(paths)}\n\n{text}")


main()
