"""Judge: the calls that each task was seen to make against the policy of its function's role, both ways.

  permissions.py < {"needs": [{"method", "calls", "beside"}], "seen": [{"task", "method", "about"}]}

Prints what is missing (a call that the policy does not allow) and what is unused (an action, a resource or a partition of a
statement that no call needs); exit code 1 on any. The managed policy for logs and traces is not a port's, and is left out.
"""

import json
import pathlib
import re
import sys

import transform
from resolve import Stack, arn, listed

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Where the simulated account keeps its zones.
ZONES = re.compile(r"file:///lake/lake/(bronze|silver|gold|runtime)/(.*)")
ATTRIBUTES = "dynamodb:LeadingKeys"


def world():
    template = transform.read(ROOT / "template.yaml")
    stack = Stack(transform.transformed(template), transform.parameters(template))
    functions = {
        resource["Metadata"]["BuildProperties"]["Binary"]: resource["Properties"]["Role"]["Fn::GetAtt"]
        for resource in template["Resources"].values()
        if resource["Type"] == "AWS::Serverless::Function"
    }
    roles = {task: (role if isinstance(role, str) else role[0]).split(".")[0] for task, role in functions.items()}
    resources = stack.resources()
    statements = {
        task: [
            statement
            for policy in resources[role]["Properties"].get("Policies", [])
            for statement in policy["PolicyDocument"]["Statement"]
        ]
        for task, role in roles.items()
    }
    return stack, resources, statements


def asked(stack, resources, action, need):
    """Resources and context with which AWS is asked for an action of this call; `[]` when it asks nothing."""
    method, about = need["method"], need["about"]
    ours = {"elasticmapreduce:ResourceTag/headwater:stack": [stack.name]}
    cluster = arn("elasticmapreduce", "cluster/j-1")
    machine = stack.physical("PipelineStateMachine")[0]
    match action:
        case "dynamodb:Query" | "dynamodb:GetItem" | "dynamodb:PutItem" | "dynamodb:DeleteItem" | "dynamodb:ConditionCheckItem":
            table = "ConfigTable" if method == "config.items" else "LedgerTable"
            return [(stack.attribute(table, "Arn"), {ATTRIBUTES: [about]})]
        case "s3:GetObject" | "s3:PutObject":
            return [("/".join(place(stack, need)), {})]
        case "s3:ListBucket":
            bucket, prefix = place(stack, need)
            return [(bucket, {"s3:prefix": [prefix]})]
        case "elasticmapreduce:RunJobFlow":
            return [("*", {"elasticmapreduce:RequestTag/headwater:stack": [stack.name]})]
        case "elasticmapreduce:AddTags":
            return [(cluster, {"elasticmapreduce:RequestTag/headwater:stack": [stack.name]})]
        case "elasticmapreduce:PutAutoTerminationPolicy" | "elasticmapreduce:PutManagedScalingPolicy":
            # The cluster is being made: it may have its tags, or not yet.
            return [(cluster, ours), (cluster, {})]
        case "elasticmapreduce:ListClusters":
            return [("*", {})]
        case "states:StartExecution" | "states:ListExecutions":
            return [(machine, {})]
        case "states:DescribeExecution":
            return [(machine.replace(":stateMachine:", ":execution:") + ":shop-1", {})]
        case "sns:Publish" | "sns:GetTopicAttributes":
            return [(stack.physical("NoticeTopic")[0], {})]
        case "kms:Decrypt" | "kms:GenerateDataKey":
            via = {"kms:ViaService": [f"sns.{transform.REGION}.amazonaws.com"]}
            return [(stack.attribute("StackKey", "Arn"), via)]
        case "iam:PassRole":
            return [(role, {"iam:PassedToService": [service]}) for role, service in passed(stack, resources)]
    if action.startswith("elasticmapreduce:"):
        return [(cluster, ours)]
    raise SystemExit(f"permissions.py: nothing is known of `{action}`")


def place(stack, need):
    """Bucket, as an ARN, and key of what a call is about."""
    if need["method"] == "deployment":
        return stack.attribute("ArtifactsBucket", "Arn"), "artifacts.json"
    found = ZONES.fullmatch(need["about"])
    if found is None:
        raise SystemExit(f"permissions.py: `{need['about']}` is in no zone")
    return stack.attribute(f"{found[1].capitalize()}Bucket", "Arn"), found[2]


def passed(stack, resources):
    """Roles that a cluster gets, and to which service each is passed: EMR's own, and those of the instance profiles."""
    for name, resource in resources.items():
        if resource["Type"] != "AWS::IAM::Role":
            continue
        for statement in resource["Properties"]["AssumeRolePolicyDocument"]["Statement"]:
            for service in listed(statement.get("Principal", {}).get("Service", [])):
                if service in ("elasticmapreduce.amazonaws.com", "ec2.amazonaws.com"):
                    yield stack.attribute(name, "Arn"), service


def like(pattern, text):
    parts = re.split(r"([*?])", pattern)
    return re.fullmatch("".join({"*": ".*", "?": "."}.get(part, re.escape(part)) for part in parts), text, re.S) is not None


def equal(pattern, text):
    return pattern == text


def holds(operator, key, patterns, context):
    """Whether a condition holds, and which of its patterns made it hold."""
    values = context.get(key)
    quantifier, _, name = operator.rpartition(":")
    if name.endswith("IfExists"):
        name = name.removesuffix("IfExists")
        if values is None:
            return True, set(patterns)
    tests = {"StringEquals": equal, "StringLike": like, "ArnEquals": like, "ArnLike": like}
    if name not in tests or quantifier not in ("", "ForAllValues", "ForAnyValue"):
        raise SystemExit(f"permissions.py: condition `{operator}` is not understood")
    if values is None:
        return quantifier == "ForAllValues", set()
    matched = [{pattern for pattern in patterns if tests[name](pattern, value)} for value in values]
    every = any if quantifier == "ForAnyValue" else all
    return every(matched), set().union(*matched)


def used(statement, action, resource, context):
    """What of a statement allows this; `None` when it does not."""
    actions = {pattern for pattern in listed(statement["Action"]) if like(pattern, action)}
    resources = {pattern for pattern in listed(statement["Resource"]) if like(pattern, resource)}
    if not actions or not resources:
        return None
    parts = {("resource", pattern) for pattern in resources}
    for operator, keys in statement.get("Condition", {}).items():
        for key, patterns in keys.items():
            held, matched = holds(operator, key, listed(patterns), context)
            if not held:
                return None
            parts |= {(key, pattern) for pattern in matched}
    return {(pattern, *part) for pattern in actions for part in parts}


def parts(statement):
    """Everything that a statement allows: each action on each resource, and under each value of its conditions."""
    limits = {("resource", pattern) for pattern in listed(statement["Resource"])}
    for keys in statement.get("Condition", {}).values():
        limits |= {(key, pattern) for key, patterns in keys.items() for pattern in listed(patterns)}
    return {(action, *limit) for action in listed(statement["Action"]) for limit in limits}


def judge(needs, seen):
    stack, resources, statements = world()
    by_method = {one["method"]: one["calls"] + one["beside"] for one in needs}
    findings, uses = set(), {task: [set() for _ in some] for task, some in statements.items()}
    for need in seen:
        task = need["task"]
        for action in by_method[need["method"]]:
            for resource, context in asked(stack, resources, action, need):
                allowing = [used(statement, action, resource, context) for statement in statements[task]]
                for use, allowed in zip(uses[task], allowing):
                    use |= allowed or set()
                if not any(allowing):
                    about = f" about `{need['about']}`" if need["about"] else ""
                    findings.add(f"{task}: missing `{action}` on `{resource}` for `{need['method']}`{about}")
    for task, some in statements.items():
        for statement, use in zip(some, uses[task]):
            for action, kind, pattern in sorted(parts(statement) - use):
                findings.add(f"{task}: unused `{action}` in {statement['Sid']}, {kind} `{pattern}`")
    allowed = sum(len(parts(statement)) for some in statements.values() for statement in some)
    return sorted(findings), len(seen), allowed


def main():
    given = json.load(sys.stdin)
    findings, calls, allowed = judge(given["needs"], given["seen"])
    for finding in findings:
        print(finding)
    print(f"{calls} kinds of calls, {allowed} permissions, {len(findings)} findings", file=sys.stderr)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
