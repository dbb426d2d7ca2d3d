"""Starts moto's server on a free port of 127.0.0.1, records what it is asked, and fails as it is told to.

    moto.py RECORD

Prints the port as one line; ends when its stdin closes, and takes RECORD with it. RECORD gets one JSON line a request, written before
the answer leaves: `caller` (the access key id of the signature), `service`, `operation` (where the request names it), `method`,
`path`, `query`, `headers` (names in lower case), `body` (text, or `{"base64": ...}`), `fault` (the effect that it met, or null) and
`status` (of moto's answer; null when moto was not asked).

Every request is judged by `models.py` before moto sees it. One that breaks its service's model or limits is answered with
`400 ModelViolation`, so that no test can pass with it. The caller FOUNDATION, which makes what a template would make, is not judged.

`POST /headwater/faults` takes `{"caller", "service", "operation", "effect", "times"}`: the next `times` (1) calls that match fail so.
A name that is left out matches every one. Effects, of which the last two close the connection without an answer:

    throttled      400 ThrottlingException (S3: 503 SlowDown), nothing done
    denied         400 AccessDeniedException (S3: 403 AccessDenied), nothing done
    failed         500 InternalServerError, nothing done
    answer-lost    done
    request-lost   nothing done
"""

import base64
import html
import json
import os
import socket
import sys
import threading
from io import BytesIO
from urllib.parse import parse_qs

import models

# This file's own folder: from there `moto` would be this file.
sys.path.pop(0)

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

THROTTLED = {"s3": (503, "SlowDown")}
DENIED = {"s3": (403, "AccessDenied")}
ANSWERS = {
    "throttled": lambda service: THROTTLED.get(service, (400, "ThrottlingException")),
    "denied": lambda service: DENIED.get(service, (400, "AccessDeniedException")),
    "failed": lambda service: (500, "InternalServerError"),
}
LOST = {"answer-lost", "request-lost"}


class Handler(MotoRequestHandler):
    """Says nothing about each request."""

    def log_request(self, *arguments):
        pass


class Recorder:
    """Between the wire and moto."""

    def __init__(self, app, record):
        self.app = app
        self.record = record
        self.lock = threading.Lock()
        self.faults = []

    def __call__(self, environ, start_response):
        body = read_body(environ)
        if environ["PATH_INFO"] == "/headwater/faults":
            with self.lock:
                self.faults.append({"times": 1} | json.loads(body))
            start_response("204 No Content", [])
            return [b""]
        request = describe(environ, body)
        request["fault"] = self.fault(request)
        status, headers, answer = self.answer(environ, request)
        request["status"] = None if status is None else int(status.split()[0])
        with self.lock:
            self.record.write(json.dumps(request) + "\n")
            self.record.flush()
        if request["fault"] in LOST:
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionError("the answer is lost")
        start_response(status, headers)
        return [answer]

    def answer(self, environ, request):
        # Nobody signs what is for moto itself.
        violations = [] if request["caller"] in ("FOUNDATION", None) else models.judge(request)[1]
        if violations:
            print(f"{request['caller']} {request['operation']}: {'; '.join(violations)}", file=sys.stderr)
            return error(400, "ModelViolation", request, "; ".join(violations))
        if request["fault"] in ANSWERS:
            status, code = ANSWERS[request["fault"]](request["service"])
            return error(status, code, request)
        if request["fault"] == "request-lost":
            return None, [], b""
        try:
            return self.ask_moto(environ)
        except Exception:  # Some of moto's errors are Python's own.
            return error(500, "InternalFailure", request)

    def ask_moto(self, environ):
        told = []
        body = self.app(environ, lambda status, headers, exc_info=None: told.append((status, headers)))
        try:
            answer = b"".join(body)
        finally:
            getattr(body, "close", lambda: None)()
        status, headers = told[-1]
        return status, headers, answer

    def fault(self, request):
        with self.lock:
            for fault in self.faults:
                names = ("caller", "service", "operation")
                if fault["times"] > 0 and all(fault.get(name) in (None, request[name]) for name in names):
                    fault["times"] -= 1
                    return fault["effect"]
        return None


def read_body(environ):
    """The body, which is left readable for moto."""
    if environ.get("HTTP_TRANSFER_ENCODING") == "chunked":
        body = environ["wsgi.input"].read()
    else:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = BytesIO(body)
    return body


def describe(environ, body):
    headers = {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name.startswith("HTTP_")}
    if environ.get("CONTENT_TYPE"):
        headers["content-type"] = environ["CONTENT_TYPE"]
    caller, service = signer(headers.get("authorization", ""))
    query = environ.get("QUERY_STRING", "")
    return {
        "caller": caller,
        "service": service,
        "operation": operation(headers, environ["REQUEST_METHOD"], query, body),
        "method": environ["REQUEST_METHOD"],
        "path": environ.get("RAW_URI", environ["PATH_INFO"]).split("?")[0],
        "query": query,
        "headers": headers,
        "body": text(body),
    }


def signer(authorization):
    """Access key id and service of `AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/SERVICE/aws4_request, ...`."""
    scope = authorization.partition("Credential=")[2].split(",")[0].split("/")
    return (scope[0], scope[3]) if len(scope) == 5 else (None, None)


def operation(headers, method, query, body):
    """The operation's name, where the request holds it; of S3's those that say it in `x-id`, and the listing."""
    if "x-amz-target" in headers:
        return headers["x-amz-target"].split(".")[-1]
    query = parse_qs(query, keep_blank_values=True)
    if "x-id" in query:
        return query["x-id"][0]
    if query.get("list-type") == ["2"]:
        return "ListObjectsV2"
    if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return parse_qs(body.decode()).get("Action", [None])[0]
    return None


def text(body):
    try:
        return body.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(body).decode()}


def error(status, code, request, message=None):
    """An error in the form of the service's protocol."""
    message = html.escape(message or f"{code} was asked for", quote=False)
    if request["service"] == "s3":
        kind, answer = "application/xml", f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    elif request["service"] in ("sns", "cloudformation"):
        kind = "text/xml"
        answer = f"<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
    else:
        kind, answer = "application/x-amz-json-1.1", json.dumps({"__type": code, "message": message})
    headers = [("Content-Type", kind), ("X-Amzn-Errortype", code)]
    return f"{status} {code}", headers, answer.encode()


def main():
    path = sys.argv[1]
    # Small enough that tests see several pages.
    os.environ["MOTO_S3_DEFAULT_MAX_KEYS"] = "10"
    with open(path, "w", encoding="utf-8") as record:
        app = Recorder(DomainDispatcherApplication(create_backend_app), record)
        server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(server.server_address[1], flush=True)
        sys.stdin.read()
    os.unlink(path)


if __name__ == "__main__":
    main()
