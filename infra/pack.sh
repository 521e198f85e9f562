#!/usr/bin/env bash
# infra/pack.sh BINARY OUTPUT.zip
#
# Packs a function's binary for Lambda: one file named bootstrap that every user can execute. The same
# binary gives the same bytes at any time, on any machine and for any user.
set -euo pipefail

binary=$1 output=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

install -m 755 "$binary" "$folder/bootstrap"
export TZ=UTC
# ZIP cannot store times before 1980, and stores local time.
touch -d '2000-01-01T00:00:00Z' "$folder/bootstrap"
# -X omits the owner and the exact times, which differ.
zip -q -X -9 -j "$folder/packed.zip" "$folder/bootstrap"
mkdir -p "$(dirname "$output")"
mv "$folder/packed.zip" "$output"
