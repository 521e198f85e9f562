#!/usr/bin/env bash
# infra/vault-lifecycle.sh BUCKET [EXPIRES_AFTER_DAYS]
#
# Adds the lifecycle rules that template.yaml sets on a new vault bucket to an existing bucket, and keeps
# the bucket's other rules. EXPIRES_AFTER_DAYS is the parameter ExpiresAfterDays (default: 7). Run the
# script again when that parameter changes: it replaces rules with the same ID.
set -euo pipefail

usage() { sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; }
fail() {
  printf 'infra/vault-lifecycle.sh: %s\n' "$*" >&2
  exit 2
}

case ${1:-} in -h | --help) usage && exit ;; esac
(($# == 1 || $# == 2)) || fail "specify a bucket. For help, run: infra/vault-lifecycle.sh --help"
bucket=$1 days=${2:-7}
[[ $days =~ ^[1-9][0-9]*$ ]] || fail "$days is not a number of days."
for command in aws python3; do
  command -v "$command" >/dev/null || fail "$command is not installed."
done
rules=$(dirname "$0")/vault-lifecycle.json
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# S3 replaces all rules at once, so this script must know the existing ones. Only the error
# NoSuchLifecycleConfiguration means that there are none; after any other error nothing is changed.
if ! aws s3api get-bucket-lifecycle-configuration --bucket "$bucket" --output json \
  >"$folder/before.json" 2>"$folder/error"; then
  if ! grep -q NoSuchLifecycleConfiguration "$folder/error"; then
    cat "$folder/error" >&2
    exit 1
  fi
  echo '{"Rules": []}' >"$folder/before.json"
fi

python3 - "$folder" "$rules" "$days" <<'END'
import json, pathlib, sys

folder, ours, days = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
ours = json.loads(pathlib.Path(ours).read_text())["Rules"]
for rule in ours:
    # A week to repair a broken cleanup: no archive is deleted while its download is promised.
    if "Expiration" in rule:
        rule["Expiration"]["Days"] = days + 7
        rule["NoncurrentVersionExpiration"]["NoncurrentDays"] = days + 7
names = {rule["ID"] for rule in ours}
before = json.loads((folder / "before.json").read_text())
kept = [rule for rule in before["Rules"] if rule.get("ID") not in names]
for rule in kept:
    # The older form of a rule. S3 rejects a configuration that mixes both forms.
    if "Prefix" in rule:
        rule["Filter"] = {"Prefix": rule.pop("Prefix")}
(folder / "minimum").write_text(before.get("TransitionDefaultMinimumObjectSize", ""))
(folder / "after.json").write_text(json.dumps({"Rules": kept + ours}))
print(f"{len(kept)} rules kept, {len(ours)} set: {', '.join(sorted(names))}")
END

# Without this argument S3 returns to its default, the smallest object that a transition moves.
minimum=$(<"$folder/minimum")
aws s3api put-bucket-lifecycle-configuration --bucket "$bucket" \
  ${minimum:+--transition-default-minimum-object-size "$minimum"} \
  --lifecycle-configuration "file://$folder/after.json" >/dev/null
