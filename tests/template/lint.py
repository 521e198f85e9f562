"""Lints what CloudFormation creates for every combination of optional parameters: the translated template
with the branches that the parameters choose.

    python3 lint.py CFN_LINT template.yaml
"""

import json
import logging
import subprocess
import sys
import tempfile
from pathlib import Path

from samcli.yamlhelper import yaml_parse
from translate import combinations, translated

NO_VALUE = {"Ref": "AWS::NoValue"}


def chosen(template, parameters):
    """Returns the template without conditions."""
    values = {name: it.get("Default") for name, it in template["Parameters"].items()} | parameters

    def holds(condition):
        (name, argument), = condition.items()
        if name == "Condition":
            return holds(template["Conditions"][argument])
        if name == "Fn::Equals":
            left, right = (str(values[v["Ref"]] if isinstance(v, dict) else v) for v in argument)
            return left == right
        results = [holds(it) for it in argument]
        return {"Fn::Not": not results[0], "Fn::And": all(results), "Fn::Or": any(results)}[name]

    def pruned(value):
        if isinstance(value, dict):
            if "Fn::If" in value:
                condition, yes, no = value["Fn::If"]
                return pruned(yes if holds({"Condition": condition}) else no)
            members = {name: pruned(it) for name, it in value.items()}
            return {name: it for name, it in members.items() if it != NO_VALUE}
        if isinstance(value, list):
            return [it for it in map(pruned, value) if it != NO_VALUE]
        return value

    def created(parts):
        exists = {
            name: holds({"Condition": it.pop("Condition")}) if "Condition" in it else True
            for name, it in parts.items()
        }
        return {name: pruned(it) for name, it in parts.items() if exists[name]}

    result = {name: it for name, it in template.items() if name != "Conditions"}
    for section in ("Resources", "Outputs"):
        result[section] = created(template[section])
    # The only values, so that the linter tries no others.
    result["Parameters"] = {
        name: {"Type": it["Type"], "Default": values[name], "AllowedValues": [values[name]]}
        for name, it in template["Parameters"].items()
    }
    return result


logging.disable(logging.WARNING)
cfn_lint, path = sys.argv[1:]
template = yaml_parse(Path(path).read_text())
with tempfile.TemporaryDirectory() as folder:
    files = []
    for number, parameters in enumerate(combinations()):
        result = chosen(translated(template, parameters), parameters)
        file = Path(folder) / f"{number}.json"
        file.write_text(json.dumps(result, indent=1))
        files.append(file)
        print(f"combination {number}: {len(result['Resources'])} resources, {', '.join(parameters)}")
    sys.stdout.flush()
    # W2001: the branches that refer to a parameter may be gone. W7001: likewise a mapping.
    ignored = ["--ignore-checks", "W2001", "W7001", "--"]
    sys.exit(subprocess.run([cfn_lint, *ignored, *files]).returncode)
