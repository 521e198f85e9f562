#!/usr/bin/env bash
# infra/release.sh [arm64] [x86_64]
#
# Builds the files of a release, by default for both architectures:
#
#     target/release-artifacts/arm64/{template.yaml, <function>.zip...}
#     target/release-artifacts/x86_64/...
#     target/release-artifacts/SHA256SUMS
#
# The same commit, Rust toolchain and requirements (release.txt) give the same bytes, in any directory.
# `sam deploy --template-file target/release-artifacts/arm64/template.yaml` deploys them.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
tools=$root/target/release-tools
output=$root/target/release-artifacts
functions=(process-bdr-job cleanup-expired-bdrs presign-bdr-download run-canary)
declare -A target=([arm64]=aarch64-unknown-linux-gnu [x86_64]=x86_64-unknown-linux-gnu)

usage() { sed -n '2,/^set/s/^# \{0,1\}//p' infra/release.sh; }
fail() {
  printf 'infra/release.sh: %s\n' "$*" >&2
  exit 1
}

case ${1:-} in -h | --help) usage && exit ;; esac
(($#)) || set -- arm64 x86_64
for architecture; do
  triple=${target[$architecture]:-}
  [ -n "$triple" ] || fail "unknown architecture $architecture. Specify arm64 or x86_64."
  [ -x "$(command -v rustc)" ] || fail "Rust is not installed. To install it, follow https://rustup.rs."
  # cargo-lambda would add the target by itself, and would not report why it cannot.
  [ -d "$(rustc --print sysroot)/lib/rustlib/$triple" ] ||
    fail "Rust cannot build for $architecture: its target is missing. Run: rustup target add $triple"
done
for command in zip python3; do
  command -v "$command" >/dev/null ||
    fail "$command is not installed. To install it, use your system's package manager."
done
python3 -c 'import venv, ensurepip' 2>/dev/null ||
  fail "python3 has no venv. On Debian and Ubuntu, install the package python3-venv."

if ! cmp -s infra/release.txt "$tools/installed.txt"; then
  rm -rf "$tools"
  python3 -m venv "$tools"
  "$tools/bin/pip" install --quiet --disable-pip-version-check --no-deps --require-hashes \
    --requirement infra/release.txt
  cp infra/release.txt "$tools/installed.txt"
fi
export PATH=$tools/bin:$PATH

# Panic messages and C's assert messages contain paths of source files. This removes the directories.
cargo_home=${CARGO_HOME:-$HOME/.cargo}
export RUSTFLAGS="--remap-path-prefix=$root=/makapix-bdr --remap-path-prefix=$cargo_home=/cargo"
export CFLAGS="-ffile-prefix-map=$root=/makapix-bdr -ffile-prefix-map=$cargo_home=/cargo"
# Apart from the ordinary builds: other flags would rebuild them.
export CARGO_TARGET_DIR=$root/target/release-build

rm -rf "$output"
for architecture; do
  built=$CARGO_TARGET_DIR/lambda/$architecture
  printf -- '--package\n%s\n' "${functions[@]}" | xargs \
    cargo lambda build --release --locked "--${architecture/_/-}" --lambda-dir "$built"
  for function in "${functions[@]}"; do
    infra/pack.sh "$built/$function/bootstrap" "$output/$architecture/$function.zip"
  done
  sed -e 's|CodeUri: target/lambda/\(.*\)/$|CodeUri: \1.zip|' \
    -e "/^  Architecture:/,/AllowedValues:/s/Default: .*/Default: $architecture/" \
    template.yaml >"$output/$architecture/template.yaml"
done

cd "$output"
find . -type f ! -name SHA256SUMS -printf '%P\n' | LC_ALL=C sort | xargs sha256sum >SHA256SUMS
rustc --version
cat SHA256SUMS
