"""Walks state machines in ministack's interpreter of Step Functions, with Lambda functions that are real `bootstrap` programs.

Reads requests from stdin, one JSON object a line, and answers each by one line on stdout. When stdin closes, it ends at once, and nothing of it is
left running. The server listens on a free port of 127.0.0.1. Waits and the delays of retries take no time. A request:

    {"stack": …,                        what functions find, see stack.py; once, if at all
     "machines": {machine: {            made when it is named first
         "definition": …,               with `${<name>FunctionArn}` as resources
         "functions": {name: {"bootstrap": path, "timeout_seconds": 9, "environment": {…}}},
         "executions": {name: input}}}}

The answer has what DescribeExecution and GetExecutionHistory say of these executions, and of those that their functions started:
`{execution: {"input", "status", "error", "cause", "output", "history": [event]}}`.
"""

import asyncio
import concurrent.futures
import io
import json
import os
import pathlib
import queue
import socket
import sys
import threading
import time
import traceback
import zipfile

import stack

# More would be slower on two cores: each function has as many processes.
AT_ONCE = 4
POLL_SECONDS = 0.1
EXECUTION_SECONDS_MAX = 120
REGION = "us-east-1"
ACCOUNT = "000000000000"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/any"


def listen():
    """A socket on a free port, and the environment in which ministack must be imported."""
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    os.environ.update(
        GATEWAY_PORT=str(port),
        AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}",
        AWS_ACCESS_KEY_ID="unused",
        AWS_SECRET_ACCESS_KEY="unused",
        AWS_DEFAULT_REGION=REGION,
        AWS_EC2_METADATA_DISABLED="true",
        MINISTACK_REGION=REGION,
        MINISTACK_ACCOUNT_ID=ACCOUNT,
        SFN_WAIT_SCALE="0",
        IOT_MTLS_ENABLED="0",
        SFTP_ENABLED="0",
        LOG_LEVEL="ERROR",
        PATH=f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    )
    return server


def serve(server):
    """In a thread of its own, for as long as this process lives."""
    from hypercorn.asyncio import serve as run
    from hypercorn.config import Config
    from ministack.app import app

    config = Config()
    config.bind = [f"fd://{server.detach()}"]
    config.loglevel = "ERROR"

    def until_the_end():
        asyncio.run(run(app, config, shutdown_trigger=lambda: asyncio.Event().wait()))

    threading.Thread(target=until_the_end, daemon=True).start()


class Engine:
    def __init__(self):
        import botocore.session
        from botocore.config import Config

        self.session = botocore.session.get_session()
        self.session.set_default_client_config(
            Config(max_pool_connections=2 * AT_ONCE, retries={"total_max_attempts": 1})
        )
        self.machines = self.session.create_client("stepfunctions")
        self.functions = self.session.create_client("lambda")
        self.arns = {}
        self.told = set()

    def answer(self, request):
        if "stack" in request:
            stack.prepare(self.session, request["stack"])
        machines = request["machines"]
        for name in machines.keys() - self.arns.keys():
            self.arns[name] = self.create_machine(name, machines[name])
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            runs = [
                pool.submit(self.run, self.arns[machine], name, value)
                for machine in machines
                for name, value in machines[machine]["executions"].items()
            ]
            ends = dict(run.result() for run in runs)
        for machine in machines:
            ends |= self.started_by_functions(self.arns[machine])
        return ends

    def started_by_functions(self, machine):
        """One may start another: until there is nothing new."""
        ends = {}
        while True:
            pages = self.machines.get_paginator("list_executions").paginate(stateMachineArn=machine)
            arns = {each["executionArn"] for page in pages for each in page["executions"]}
            if not arns - self.told:
                return ends
            ends |= dict(self.end(arn) for arn in arns - self.told)

    def create_machine(self, machine, request):
        definition = json.dumps(request["definition"])
        for name, function in request["functions"].items():
            arn = self.create_function(f"{machine}-{name}", function)
            definition = definition.replace(f"${{{name}FunctionArn}}", arn)
        created = self.machines.create_state_machine(
            name=machine, definition=definition, roleArn=ROLE
        )
        return created["stateMachineArn"]

    def create_function(self, name, function):
        created = self.functions.create_function(
            FunctionName=name,
            Runtime="provided.al2023",
            Handler="bootstrap",
            Role=ROLE,
            Code={"ZipFile": package(function["bootstrap"])},
            Timeout=function["timeout_seconds"],
            Environment={"Variables": function["environment"]},
        )
        return created["FunctionArn"]

    def run(self, machine, name, value):
        started = self.machines.start_execution(
            stateMachineArn=machine, name=name, input=json.dumps(value)
        )
        return self.end(started["executionArn"])

    def end(self, execution):
        described = self.ended(execution)
        pages = self.machines.get_paginator("get_execution_history")
        history = [
            event
            for page in pages.paginate(executionArn=execution)
            for event in page["events"]
        ]
        self.told.add(execution)
        told = {key: described.get(key) for key in ("input", "status", "error", "cause", "output")}
        return described["name"], {**told, "history": history}

    def ended(self, execution):
        deadline = time.monotonic() + EXECUTION_SECONDS_MAX
        while True:
            described = self.machines.describe_execution(executionArn=execution)
            if described["status"] != "RUNNING":
                return described
            if time.monotonic() > deadline:
                raise TimeoutError(f"the execution does not end: {execution}")
            time.sleep(POLL_SECONDS)


def package(bootstrap):
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.write(bootstrap, "bootstrap")
    return code.getvalue()


def work(requests):
    try:
        engine = Engine()
        while True:
            told = engine.answer(json.loads(requests.get()))
            print(json.dumps(told, default=str), flush=True)
    except BaseException:
        traceback.print_exc()
        end(1)


def end(status):
    from ministack.core import lambda_runtime

    lambda_runtime.reset()
    os._exit(status)


def main():
    serve(listen())
    requests = queue.Queue()
    threading.Thread(target=work, args=(requests,), daemon=True).start()
    for line in sys.stdin:
        requests.put(line)
    end(0)


if __name__ == "__main__":
    main()
