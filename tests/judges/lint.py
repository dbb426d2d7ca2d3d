"""Judge: cfn-lint over the transformed template. `lint.py <transformed template>` prints findings as JSON."""

import json
import sys

import cfnlint.core
import cfnlint.config
from cfnlint.runner import Runner
from resolve import REGION


def findings(path):
    config = cfnlint.config.ConfigMixIn(["--template", path, "--regions", REGION, "--include-checks", "W"])
    runner = Runner(config)
    found = [
        {
            "check": match.rule.id,
            "resource": ".".join(map(str, match.path[1:2])) if getattr(match, "path", None) else "",
            "message": match.message,
        }
        for match in runner.run()
    ]
    rules = runner.rules if isinstance(runner.rules, (list, dict)) else list(runner.rules)
    resources = json.load(open(path, encoding="utf-8"))["Resources"]
    return {"checked": len(rules) * len(resources), "findings": found}


def main():
    json.dump(findings(sys.argv[1]), sys.stdout)


if __name__ == "__main__":
    main()
