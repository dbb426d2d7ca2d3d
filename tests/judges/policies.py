"""Judge: parliament over every policy document of the template. `policies.py <transformed> <parameters>`, findings as JSON."""

import json
import pathlib
import sys

from parliament import analyze_policy_string

from resolve import Stack, policies


def findings(stack):
    checked = 0
    found = []
    for name, kind, document in policies(stack.resources()):
        checked += len(document["Statement"])
        if kind != "identity":
            # Parliament reads policies of identities: of the others it judges actions, resources and conditions only.
            document = {**document, "Statement": [without_principal(one, kind) for one in document["Statement"]]}
        for finding in analyze_policy_string(json.dumps(document)).findings:
            detail = f" {finding.detail}" if finding.detail else ""
            found.append({"check": finding.issue, "resource": name, "message": f"{detail} {finding.location}".strip()})
    return {"checked": checked, "findings": found}


def without_principal(statement, kind):
    statement = {key: value for key, value in statement.items() if key != "Principal"}
    return {**statement, "Resource": "*"} if kind == "trust" else statement


def main():
    template, parameters = (json.loads(pathlib.Path(path).read_text()) for path in sys.argv[1:3])
    json.dump(findings(Stack(template, parameters)), sys.stdout)


if __name__ == "__main__":
    main()
