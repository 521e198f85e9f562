#!/usr/bin/env bash
# infra/vault-cors.sh BUCKET ORIGIN...
#
# Adds the CORS rule that template.yaml sets on a new vault bucket (SiteOrigins) to an existing bucket,
# and keeps the bucket's other rules. ORIGIN is scheme, host and optional port, such as
# https://makapix.club. Run the script again when the origins change: it replaces its own rule.
set -euo pipefail

usage() { sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; }
fail() {
  printf 'infra/vault-cors.sh: %s\n' "$*" >&2
  exit 2
}

case ${1:-} in -h | --help) usage && exit ;; esac
(($# >= 2)) || fail "specify a bucket and at least one origin. For help, run: infra/vault-cors.sh --help"
for command in aws python3; do
  command -v "$command" >/dev/null || fail "$command is not installed."
done
bucket=$1
shift
for origin; do
  [[ $origin =~ ^https?://[^/[:space:],]+$ ]] ||
    fail "$origin is not an origin. Specify scheme, host and optional port, such as https://makapix.club."
done
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# S3 replaces all rules at once, so this script must know the existing ones. Only the error
# NoSuchCORSConfiguration means that there are none; after any other error nothing is changed.
if ! aws s3api get-bucket-cors --bucket "$bucket" --output json >"$folder/before.json" 2>"$folder/error"; then
  if ! grep -q NoSuchCORSConfiguration "$folder/error"; then
    cat "$folder/error" >&2
    exit 1
  fi
  echo '{"CORSRules": []}' >"$folder/before.json"
fi

python3 - "$folder" "$@" <<'END'
import json, pathlib, sys

folder, origins = pathlib.Path(sys.argv[1]), sys.argv[2:]
ours = {
    "ID": "SiteDownloads",
    "AllowedOrigins": origins,
    "AllowedMethods": ["GET", "HEAD"],
    "AllowedHeaders": ["Range"],
    "ExposeHeaders": ["Accept-Ranges", "Content-Disposition", "Content-Length", "Content-Range", "ETag"],
    "MaxAgeSeconds": 3600,
}
before = json.loads((folder / "before.json").read_text())["CORSRules"]
kept = [rule for rule in before if rule.get("ID") != ours["ID"]]
(folder / "after.json").write_text(json.dumps({"CORSRules": kept + [ours]}))
print(f"{len(kept)} rules kept, 1 set: {ours['ID']}")
END

aws s3api put-bucket-cors --bucket "$bucket" --cors-configuration "file://$folder/after.json" >/dev/null
