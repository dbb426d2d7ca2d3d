#!/usr/bin/env python3
"""A Lambda function, as its `bootstrap`: it answers what is written down for its execution, in the order in which it is asked.

`$SCRIPTS/<execution>.answers` is a JSON list, one answer for each call of any function: `{"return": …}`, `{"error": {"errorType": …,
"errorMessage": …}}`, `{"exit": status}` (the process dies), or `{"silence": true}` (no answer, ever). Each call adds `{"function", "input"}` as a line to `$SCRIPTS/<execution>.asked`.
"""

import http.client
import json
import os
import pathlib
import socket
import sys
import threading

RUNTIME = "/2018-06-01/runtime/invocation"


def main():
    scripts = pathlib.Path(os.environ["SCRIPTS"])
    api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    while True:
        call, event = next_call(api)
        answer = next_answer(scripts, event)
        # ministack waits a while for a line of log before it goes on.
        print(json.dumps(answer), flush=True)
        if "exit" in answer:
            sys.exit(answer["exit"])
        if "silence" in answer:
            threading.Event().wait()
        if "return" in answer:
            post(api, f"{RUNTIME}/{call}/response", answer["return"])
        else:
            post(api, f"{RUNTIME}/{call}/error", answer["error"])


def next_call(api):
    api.request("GET", f"{RUNTIME}/next")
    # The engine sends head and body apart: without this each call takes 40 ms more.
    api.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
    response = api.getresponse()
    body = response.read()
    if response.status != 200:
        sys.exit(0)
    return response.headers["Lambda-Runtime-Aws-Request-Id"], json.loads(body)


def next_answer(scripts, event):
    """One execution asks one function at a time, so its files need no lock."""
    asked = scripts / f"{event['execution']}.asked"
    number = len(asked.read_text().splitlines()) if asked.exists() else 0
    with asked.open("a") as lines:
        function = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        lines.write(json.dumps({"function": function, "input": event}) + "\n")
    answers = json.loads((scripts / f"{event['execution']}.answers").read_text())
    if number < len(answers):
        return answers[number]
    message = f"the story ends after {number} answers"
    return {"error": {"errorType": "NoAnswer", "errorMessage": message}}


def post(api, path, body):
    api.request("POST", path, json.dumps(body))
    api.getresponse().read()


if __name__ == "__main__":
    try:
        main()
    except OSError:
        # The engine has ended.
        sys.exit(0)
