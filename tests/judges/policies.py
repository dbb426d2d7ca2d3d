"""Judge: parliament over every policy document. `policies.py <transformed template> <parameters>` prints findings as JSON."""

import json
import pathlib
import sys

import parliament

from resolve import Stack, arn, listed, policies


def complete_definitions():
    """Condition keys of a resource count for the actions on it; parliament looks only at those listed with the action."""
    for service in parliament.iam_definition:
        keys = {resource["resource"]: resource["condition_keys"] for resource in service["resources"]}
        for privilege in service["privileges"]:
            for kind in privilege["resource_types"]:
                kind["condition_keys"] = kind["condition_keys"] + keys.get(kind["resource_type"].rstrip("*"), [])


def findings(stack):
    checked = 0
    found = []
    resources = stack.resources()
    for name, kind, document in policies(resources):
        statements = [of_identity(one, name, kind) for one in document["Statement"]]
        checked += len(statements)
        for finding in parliament.analyze_policy_string(json.dumps({**document, "Statement": statements})).findings:
            place = finding.location.get("column", 0) if isinstance(finding.location, dict) else 0
            detail = finding.detail if isinstance(finding.detail, str) else json.dumps(finding.detail)
            found.append({"check": finding.issue, "resource": name, "message": f"{detail} (character {place})"})
    return {"checked": checked, "findings": found}


def of_identity(statement, name, kind):
    """Parliament reads policies of identities: the others come without a principal, and `*` there means the resource itself."""
    if kind == "identity":
        return statement
    own = {
        "trust": arn("iam", f"role/{name.split('.')[0]}", ""),
        "resource": arn("kms", "key/0a1b2c3d-0000-4000-8000-0123456789ab"),
    }[kind]
    statement = {key: value for key, value in statement.items() if key != "Principal"}
    return {**statement, "Resource": [own if one == "*" else one for one in listed(statement.get("Resource", "*"))]}


def main():
    template, parameters = (json.loads(pathlib.Path(path).read_text()) for path in sys.argv[1:3])
    complete_definitions()
    json.dump(findings(Stack(template, parameters)), sys.stdout)


if __name__ == "__main__":
    main()
