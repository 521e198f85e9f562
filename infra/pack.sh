#!/usr/bin/env bash
# infra/pack.sh BINARY OUTPUT.zip
#
# Packs a function's binary as Lambda wants it: one file named bootstrap that anybody may run. The
# same binary gives the same bytes, whenever, wherever and by whomever it is packed.
set -euo pipefail

binary=$1 output=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

install -m 755 "$binary" "$folder/bootstrap"
export TZ=UTC
# A ZIP knows no time before 1980, and writes local time.
touch -d '2000-01-01T00:00:00Z' "$folder/bootstrap"
# -X: without the owner and the exact times, which differ.
zip -q -X -9 -j "$folder/packed.zip" "$folder/bootstrap"
mkdir -p "$(dirname "$output")"
mv "$folder/packed.zip" "$output"
