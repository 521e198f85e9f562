"""The template as the SAM transform translates it, for combinations of its optional parameters.

A combination takes one alternative of each choice in combinations.json. The combinations contain every pair
of alternatives of two choices: a resource or a reference depends on at most two conditions, and all
combinations would be too many.

    python3 translate.py < template.json

prints a list of {"parameters", "template"}.
"""

import copy
import itertools
import json
import logging
import sys
from pathlib import Path

import boto3
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

CHOICES = json.loads((Path(__file__).parent / "combinations.json").read_text())


def combinations():
    """Returns the parameters of each combination. They are the same in every run."""
    names = list(CHOICES)
    pairs = {
        frozenset([(a, i), (b, j)])
        for a, b in itertools.combinations(names, 2)
        for i in range(len(CHOICES[a]))
        for j in range(len(CHOICES[b]))
    }
    rows = []
    while pairs:
        row = dict(min(sorted(pair) for pair in pairs))
        for name in names:
            if name not in row:
                def gain(i):
                    return sum(frozenset([(name, i), other]) in pairs for other in row.items())

                row[name] = max(range(len(CHOICES[name])), key=gain)
        pairs -= {frozenset(pair) for pair in itertools.combinations(row.items(), 2)}
        rows.append({k: v for name, i in row.items() for k, v in CHOICES[name][i].items()})
    return rows


def translated(template, parameters):
    """Returns the template as CloudFormation has it after the transform."""
    template = copy.deepcopy(template)
    for resource in template["Resources"].values():
        # `sam deploy` uploads the code before.
        if "CodeUri" in resource.get("Properties", {}):
            resource["Properties"]["CodeUri"] = "s3://artifacts/function.zip"
    session = boto3.Session(region_name="us-east-1")
    return Translator(None, Parser(), boto_session=session).translate(template, dict(parameters))


if __name__ == "__main__":
    # Its warnings are on metrics and feature toggles of the translator itself.
    logging.disable(logging.WARNING)
    template = json.load(sys.stdin)
    json.dump(
        [{"parameters": p, "template": translated(template, p)} for p in combinations()], sys.stdout
    )
