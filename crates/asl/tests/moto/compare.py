"""Runs the cases of ../cases in moto's interpreter of Step Functions, and prints where it ends differently.

Needs the package `moto[stepfunctions,iam,lambda]`; touches no network. Left out: cases whose tasks throw or take time, and long waits.
"""

import io
import json
import os
import pathlib
import time
import zipfile

for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
    os.environ[name] = "unused"
os.environ["AWS_DEFAULT_REGION"] = "us-east-1"

import boto3  # noqa: E402
from moto import mock_aws  # noqa: E402
from moto.awslambda_simple.models import lambda_simple_backends  # noqa: E402

CASES = pathlib.Path(__file__).parent.parent / "cases"
ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/any"
FUNCTION = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:f"
WAIT_SECONDS_MAX = 10


def returns(case):
    """The results of all tasks in order; None where that cannot be replayed."""
    mocks = [mock for answers in case.get("mocks", {}).values() for mock in answers]
    if any("return" not in mock or mock.get("after_seconds") for mock in mocks):
        return None
    return [json.dumps(mock["return"]) for mock in mocks]


def is_comparable(case):
    expect = case["expect"]
    return (
        "refused" not in expect
        and returns(case) is not None
        and expect.get("seconds", 0) <= WAIT_SECONDS_MAX
        and expect.get("status") != "TIMED_OUT"
        and len(json.dumps(case["definition"])) < 10_000
        and not ("history" not in expect and expect.get("error") == "States.Runtime" and loops(case))
    )


def loops(case):
    states = case["definition"]["States"]
    return any(state.get("Next") == name for name, state in states.items())


def events(client, execution):
    found, state = [], None
    for event in client.get_execution_history(executionArn=execution, maxResults=1000)["events"]:
        details = event.get("stateEnteredEventDetails") or event.get("stateExitedEventDetails")
        state = details["name"] if details else state
        shown = state if details or event["type"].startswith(("Lambda", "Task")) else None
        found.append(f"{event['type']} {shown or ''}".strip())
    return found


def decoded(output):
    """moto gives some outputs as JSON and some as they are."""
    try:
        return json.loads(output)
    except (TypeError, ValueError):
        return output


def ended(client, execution):
    while True:
        described = client.describe_execution(executionArn=execution)
        if described["status"] != "RUNNING":
            return described
        time.sleep(0.05)


def run(client, number, case):
    backend = lambda_simple_backends[ACCOUNT]["us-east-1"]
    backend.lambda_simple_results_queue = returns(case)
    definition = json.dumps(case["definition"]).replace("${Fn}", FUNCTION)
    machine = client.create_state_machine(
        name=f"case-{number}", definition=definition, roleArn=ROLE
    )["stateMachineArn"]
    execution = client.start_execution(
        stateMachineArn=machine, name="run", input=json.dumps(case.get("input"))
    )["executionArn"]
    described = ended(client, execution)
    return {
        "status": described["status"],
        "output": decoded(described.get("output")),
        "error": described.get("error"),
        "history": events(client, execution),
    }


def difference(case, found):
    expect = {key: case["expect"][key] for key in found if key in case["expect"]}
    if "history" in expect:
        expect["history"] = [line.split(" ", 1)[1] for line in expect["history"]]
    return {
        key: {"here": value, "moto": found[key]}
        for key, value in expect.items()
        if value != found[key] and value != decoded(found[key])
    }


def make_function():
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "lambda.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }
        ],
    }
    boto3.client("iam").create_role(RoleName="any", AssumeRolePolicyDocument=json.dumps(trust))
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("f.py", "def handler(event, context): return None")
    boto3.client("lambda").create_function(
        FunctionName="f",
        Runtime="python3.12",
        Role=ROLE,
        Handler="f.handler",
        Code={"ZipFile": code.getvalue()},
    )


@mock_aws(config={"stepfunctions": {"execute_state_machine": True}, "lambda": {"use_docker": False}})
def main():
    make_function()
    client = boto3.client("stepfunctions")
    compared = differing = 0
    for path in sorted(CASES.glob("*.json")):
        for name, case in json.loads(path.read_text()).items():
            if not is_comparable(case):
                continue
            compared += 1
            try:
                found = difference(case, run(client, compared, case))
            except Exception as error:  # moto's own faults are differences, too
                found = {"moto": repr(error)}
            if found:
                differing += 1
                print(f"{name}: {json.dumps(found)}")
    print(f"{compared} compared, {differing} differ")


if __name__ == "__main__":
    main()
