#!/usr/bin/env bash
# infra/vault-lifecycle.sh BUCKET [EXPIRES_AFTER_DAYS]
#
# Gives an existing vault bucket the lifecycle rules that template.yaml gives to a new one, beside
# those it has. EXPIRES_AFTER_DAYS is the parameter ExpiresAfterDays, 7 by default. Run it again after
# a change of that; rules of the same ID are replaced.
set -euo pipefail

bucket=$1 days=${2:-7}
rules=$(dirname "$0")/vault-lifecycle.json
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# S3 only takes all rules at a time. So the present ones must be known, and only S3's own word that
# there are none may stand for none.
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
    # A week in which the cleanup may be mended: nothing is deleted while its link still holds.
    if "Expiration" in rule:
        rule["Expiration"]["Days"] = days + 7
        rule["NoncurrentVersionExpiration"]["NoncurrentDays"] = days + 7
names = {rule["ID"] for rule in ours}
before = json.loads((folder / "before.json").read_text())["Rules"]
kept = [rule for rule in before if rule.get("ID") not in names]
(folder / "after.json").write_text(json.dumps({"Rules": kept + ours}))
print(f"{len(kept)} rules kept, {len(ours)} set: {', '.join(sorted(names))}")
END

aws s3api put-bucket-lifecycle-configuration --bucket "$bucket" \
  --lifecycle-configuration "file://$folder/after.json" >/dev/null
