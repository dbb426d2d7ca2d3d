"""Validates recorded requests against botocore's models of the services, and against limits that the models lack.

  models.py RECORD...                  files of requests, one JSON object a line; folders stand for their `*.jsonl`
  models.py --expect FILE RECORD...    also fails when an operation of FILE (`service Operation` a line) was not seen

Prints how often each operation was seen, then each violation; exit code 1 on any.
  models.py --serve                    reads requests from stdin, and answers each with a line: a JSON list of its violations
  models.py --self-test FILE           requests with the `violation` that each must have, null for none

A request is as `moto.py` records it.
"""

import base64
import binascii
import json
import sys
from collections import Counter
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import botocore.session
import regex

# Signing names of the services that are called, and botocore's names of them.
SERVICES = {
    "cloudformation": "cloudformation",
    "dynamodb": "dynamodb",
    "elasticmapreduce": "emr",
    "s3": "s3",
    "scheduler": "scheduler",
    "secretsmanager": "secretsmanager",
    "sns": "sns",
    "states": "stepfunctions",
    "sts": "sts",
}
# Java writes the code points beyond the basic plane as surrogates, Python does not.
SURROGATES = "\\uD800\\uDC00-\\uDBFF\\uDFFF"
BEYOND = "\\U00010000-\\U0010FFFF"
# Headers of the protocol itself, beside those that an operation has.
HEADERS = ("x-amz-date", "x-amz-security-token", "x-amz-content-sha256", "x-amz-user-agent", "x-amz-target", "x-amz-trailer",
           "x-amz-decoded-content-length", "x-amz-sdk-checksum-algorithm", "x-amz-api-version")

_session = botocore.session.get_session()
_models = {}


def model_of(service):
    if service not in _models:
        _models[service] = _session.get_service_model(service)
    return _models[service]


class Faults:
    """Violations of one request, each with the place in it."""

    def __init__(self):
        self.found = []

    def add(self, place, text):
        self.found.append(f"{place}: {text}")


# ---- shapes ----------------------------------------------------------------------------------------------------------


def check(shape, value, place, faults, wire):
    """Compares a value with its shape. `wire` is how the protocol writes values: `json`, or `text` where all is text."""
    kind = {"structure": check_structure, "list": check_list, "map": check_map, "string": check_string, "integer": check_number,
            "long": check_number, "float": check_number, "double": check_number, "boolean": check_boolean, "blob": check_blob,
            "timestamp": check_timestamp}.get(shape.type_name)
    if kind is None:
        faults.add(place, f"a shape of type `{shape.type_name}` is not understood")
    else:
        kind(shape, value, place, faults, wire)


def check_structure(shape, value, place, faults, wire):
    if shape.is_document_type:
        return
    if not isinstance(value, dict):
        faults.add(place, f"is not a structure: {value!r}")
        return
    members = {member.serialization.get("name", name): member for name, member in shape.members.items()}
    check_members(shape, {name: members[name] for name in members}, value, place, faults, wire)


def check_members(shape, members, value, place, faults, wire):
    """`members` by their names on the wire; the required ones are named by the model's names."""
    written = {name: shape.members[name].serialization.get("name", name) for name in shape.members}
    for name in shape.required_members:
        if written[name] in members and value.get(written[name]) is None:
            faults.add(place, f"`{name}` is missing")
    given = {name: item for name, item in value.items() if item is not None}
    if getattr(shape, "is_tagged_union", False) and len(given) != 1:
        faults.add(place, f"is a union and has {len(given)} members")
    for name, item in given.items():
        if name in members:
            check(members[name], item, f"{place}.{name}" if place else name, faults, wire)
        else:
            faults.add(place, f"`{name}` is not a member")


def check_size(shape, size, place, faults, what):
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and size < least:
        faults.add(place, f"{what} {size} is less than {least}")
    if most is not None and size > most:
        faults.add(place, f"{what} {size} is more than {most}")


def check_list(shape, value, place, faults, wire):
    if not isinstance(value, list):
        faults.add(place, f"is not a list: {value!r}")
        return
    check_size(shape, len(value), place, faults, "length")
    for number, item in enumerate(value):
        check(shape.member, item, f"{place}[{number}]", faults, wire)


def check_map(shape, value, place, faults, wire):
    if not isinstance(value, dict):
        faults.add(place, f"is not a map: {value!r}")
        return
    check_size(shape, len(value), place, faults, "length")
    for key, item in value.items():
        check(shape.key, key, f"{place}.{key}", faults, wire)
        check(shape.value, item, f"{place}.{key}", faults, wire)


def check_string(shape, value, place, faults, wire):
    if not isinstance(value, str):
        faults.add(place, f"is not text: {value!r}")
        return
    check_size(shape, len(value), place, faults, "length")
    if shape.enum and value not in shape.enum:
        faults.add(place, f"`{value}` is not one of {', '.join(shape.enum)}")
    pattern = shape.metadata.get("pattern")
    if pattern is None:
        return
    try:
        matches = regex.fullmatch(pattern.replace(SURROGATES, BEYOND), value, regex.DOTALL)
    except regex.error as error:
        faults.add(place, f"pattern `{pattern}` is not understood: {error}")
        return
    if not matches:
        faults.add(place, f"`{value}` does not match {pattern}")


def check_number(shape, value, place, faults, wire):
    whole = shape.type_name in ("integer", "long")
    if wire == "text":
        try:
            value = int(value) if whole else float(value)
        except ValueError:
            faults.add(place, f"is not a number: {value!r}")
            return
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        faults.add(place, f"is not of type {shape.type_name}: {value!r}")
        return
    if whole and not -2**(bits := 31 if shape.type_name == "integer" else 63) <= value < 2**bits:
        faults.add(place, f"does not fit type {shape.type_name}: {value}")
    check_size(shape, value, place, faults, "value")


def check_boolean(shape, value, place, faults, wire):
    if value not in ("true", "false") if wire == "text" else not isinstance(value, bool):
        faults.add(place, f"is not a boolean: {value!r}")


def check_blob(shape, value, place, faults, wire):
    try:
        size = len(base64.b64decode(value, validate=True))
    except (TypeError, ValueError, binascii.Error):
        faults.add(place, f"is not base64: {value!r}")
        return
    check_size(shape, size, place, faults, "length")


def check_timestamp(shape, value, place, faults, wire):
    if wire == "json" and not isinstance(value, str):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            faults.add(place, f"is not a timestamp: {value!r}")
    elif not regex.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", str(value)):
        faults.add(place, f"is not a timestamp: {value!r}")


# ---- protocols -------------------------------------------------------------------------------------------------------


def read_json(request, model, faults):
    """The operation of a JSON request and its input."""
    target = request["headers"].get("x-amz-target", "")
    prefix, _, name = target.rpartition(".")
    if prefix != model.metadata["targetPrefix"] or name not in model.operation_names:
        faults.add("x-amz-target", f"`{target}` is not an operation")
        return None, {}
    version = f"application/x-amz-json-{model.metadata['jsonVersion']}"
    if request["headers"].get("content-type") != version:
        faults.add("content-type", f"is not {version}")
    try:
        value = json.loads(request["body"] or "{}")
    except ValueError as error:
        faults.add("body", f"is not JSON: {error}")
        return name, {}
    check(model.operation_model(name).input_shape, value, "", faults, "json")
    return name, value


def read_query(request, model, faults):
    """The operation of a query request and its input, put together from the flat parameters."""
    flat = dict(parse_qsl(request["body"], keep_blank_values=True))
    name = flat.pop("Action", "")
    if flat.pop("Version", None) != model.api_version:
        faults.add("Version", f"is not {model.api_version}")
    if name not in model.operation_names:
        faults.add("Action", f"`{name}` is not an operation")
        return None, {}
    shape = model.operation_model(name).input_shape
    value = unflatten(shape, "", flat) if shape else {}
    for left in flat:
        faults.add(left, "is not a parameter")
    if shape:
        check(shape, value or {}, "", faults, "text")
    return name, value or {}


def unflatten(shape, prefix, flat):
    """Takes what begins with `prefix` out of `flat`; `None` when there is nothing."""
    if shape.type_name == "structure":
        found = {}
        for name, member in shape.members.items():
            written = member.serialization.get("name", name)
            value = unflatten(member, f"{prefix}.{written}" if prefix else written, flat)
            if value is not None:
                found[written] = value
        return found or None
    if shape.type_name == "list":
        base = prefix if shape.serialization.get("flattened") else f"{prefix}.{shape.member.serialization.get('name', 'member')}"
        found, number = [], 1
        while (item := unflatten(shape.member, f"{base}.{number}", flat)) is not None:
            found.append(item)
            number += 1
        return found or None
    if shape.type_name == "map":
        base = prefix if shape.serialization.get("flattened") else f"{prefix}.entry"
        key = shape.key.serialization.get("name", "key")
        item = shape.value.serialization.get("name", "value")
        found, number = {}, 1
        while f"{base}.{number}.{key}" in flat:
            found[flat.pop(f"{base}.{number}.{key}")] = unflatten(shape.value, f"{base}.{number}.{item}", flat)
            number += 1
        return found or None
    return flat.pop(prefix, None)


def read_rest(request, model, faults):
    """The operation of a REST request and its input, from path, query, headers and body."""
    query = dict(parse_qsl(request["query"], keep_blank_values=True))
    found = [match for name in model.operation_names if (match := match_rest(model, name, request["method"], request["path"], query))]
    if not found:
        faults.add("path", f"`{request['method']} {request['path']}?{request['query']}` is not an operation")
        return None, {}
    _, name, value, static = max(found, key=lambda match: match[0])
    operation = model.operation_model(name)
    shape = operation.input_shape
    members = shape.members if shape else {}
    by_place = {}
    for member_name, member in members.items():
        place = member.serialization.get("location", "body")
        by_place.setdefault(place, {})[member.serialization.get("name", member_name)] = (member_name, member)
    for key, text in query.items():
        if key in static or key == "x-id":
            continue
        if key not in by_place.get("querystring", {}):
            faults.add("query", f"`{key}` is not a parameter of {name}")
            continue
        member_name, member = by_place["querystring"][key]
        value[member_name] = text if member.type_name != "list" else [text]
    headers = {key.lower(): pair for key, pair in by_place.get("header", {}).items()}
    prefixes = tuple(key.lower() for key in by_place.get("headers", {}))
    for key, text in request["headers"].items():
        if key in headers:
            value[headers[key][0]] = text
        elif key.startswith("x-amz-") and key not in HEADERS and not (prefixes and key.startswith(prefixes)):
            faults.add("headers", f"`{key}` is not a header of {name}")
    for member_name, text in value.items():
        check(members[member_name], text, member_name, faults, "text")
    for member_name in shape.required_members if shape else []:
        if members[member_name].serialization.get("location") and value.get(member_name) in (None, ""):
            faults.add(name, f"`{member_name}` is missing")
    read_rest_body(request, model, shape, {key: pair[1] for key, pair in by_place.get("body", {}).items()}, value, faults)
    return name, value


def match_rest(model, name, method, path, query):
    """How well a request fits an operation, and the members in its path; `None` when it does not."""
    http = model.operation_model(name).http
    template = urlsplit(http["requestUri"])
    static = dict(parse_qsl(template.query, keep_blank_values=True))
    if http["method"] != method or any(query.get(key) != text for key, text in static.items()):
        return None
    if "x-id" in query and query["x-id"] != name:
        return None
    pattern = regex.sub(r"\\\{(\w+)(\\\+)?\\\}", lambda found: f"(?P<{found[1]}>{'.+' if found[2] else '[^/]+'})", regex.escape(template.path))
    found = regex.fullmatch(pattern + "/?", path)
    if not found:
        return None
    shape = model.operation_model(name).input_shape
    written = {member.serialization.get("name", key): key for key, member in (shape.members if shape else {}).items()}
    value = {written[key]: unquote(text) for key, text in found.groupdict().items()}
    return (len(static), "x-id" in query, -template.path.count("{")), name, value, static


def read_rest_body(request, model, shape, members, value, faults):
    payload = shape.serialization.get("payload") if shape else None
    if payload and shape.members[payload].type_name == "blob":
        return
    if model.protocol == "rest-json" and not payload:
        try:
            body = json.loads(request["body"] or "{}")
        except ValueError as error:
            faults.add("body", f"is not JSON: {error}")
            return
        check_members(shape, members, body, "", faults, "json")
        value.update(body)
    elif request["body"]:
        faults.add("body", "a body of this kind is not understood")


READERS = {"json": read_json, "query": read_query, "rest-json": read_rest, "rest-xml": read_rest}


# ---- limits that the models lack -------------------------------------------------------------------------------------

HADOOP_JAR_STEP_CHARACTERS_MAX = 10_240
ACTIVE_STEPS_MAX = 256
IDLE_SECONDS = (60, 7 * 24 * 3600)
TERMINATIONS_MAX = 10
LISTED_STEPS_MAX = 10
CLUSTER_TAGS_MAX = 50
STATE_BYTES_MAX = 262_144
EXECUTION_NAME = regex.compile(r"[A-Za-z0-9_.\-]{1,80}")
TRANSACTION_MAX = 100
ITEM_BYTES_MAX = 400 * 1024
MESSAGE_BYTES_MAX = 262_144
SUBJECT_CHARACTERS_MAX = 99


def limit_run_job_flow(value, faults):
    if value.get("Steps"):
        faults.add("Steps", "a cluster is created without steps")
    idle = value.get("AutoTerminationPolicy", {}).get("IdleTimeout")
    if not isinstance(idle, int) or not IDLE_SECONDS[0] <= idle <= IDLE_SECONDS[1]:
        faults.add("AutoTerminationPolicy.IdleTimeout", f"is not of {IDLE_SECONDS[0]} to {IDLE_SECONDS[1]} seconds: {idle}")
    concurrency = value.get("StepConcurrencyLevel", 1)
    if not 1 <= concurrency <= 256:
        faults.add("StepConcurrencyLevel", f"is not of 1 to 256: {concurrency}")
    instances = value.get("Instances", {})
    if instances.get("TerminationProtected") is not False:
        faults.add("Instances.TerminationProtected", "is not false")
    if instances.get("KeepJobFlowAliveWhenNoSteps") is not True:
        faults.add("Instances.KeepJobFlowAliveWhenNoSteps", "is not true: the cluster would end before its first step")
    if ("InstanceGroups" in instances) == ("InstanceFleets" in instances):
        faults.add("Instances", "has not just one of groups and fleets")
    if "InstanceGroups" in instances and len(instances.get("Ec2SubnetIds", [])) > 1:
        faults.add("Instances.Ec2SubnetIds", "groups take one subnet")
    keys = [tag.get("Key") for tag in value.get("Tags", [])]
    if len(keys) != len(set(keys)):
        faults.add("Tags", "a key is there twice")
    if len(keys) > CLUSTER_TAGS_MAX:
        faults.add("Tags", f"length {len(keys)} is more than {CLUSTER_TAGS_MAX}")
    for tag in value.get("Tags", []):
        if not 1 <= len(tag.get("Key", "")) <= 128 or len(tag.get("Value", "")) > 256:
            faults.add("Tags", f"`{tag.get('Key')}` is not of 1 to 128 characters with a value of at most 256")
    if "headwater:stack" not in keys:
        faults.add("Tags", "`headwater:stack` is missing: nobody would know the cluster as ours")


def limit_add_job_flow_steps(value, faults):
    steps = value.get("Steps", [])
    if not 1 <= len(steps) <= ACTIVE_STEPS_MAX:
        faults.add("Steps", f"length {len(steps)} is not of 1 to {ACTIVE_STEPS_MAX}")
    for number, step in enumerate(steps):
        if step.get("ActionOnFailure") != "CONTINUE":
            faults.add(f"Steps[{number}].ActionOnFailure", "is not CONTINUE, as steps beside each other must have it")
        jar = step.get("HadoopJarStep", {})
        texts = [jar.get("Jar", ""), jar.get("MainClass", ""), *jar.get("Args", [])]
        texts += [text for pair in jar.get("Properties", []) for text in pair.values()]
        characters = sum(len(text) for text in texts)
        if characters > HADOOP_JAR_STEP_CHARACTERS_MAX:
            faults.add(f"Steps[{number}].HadoopJarStep", f"length {characters} is more than {HADOOP_JAR_STEP_CHARACTERS_MAX}")


def limit_terminate_job_flows(value, faults):
    if not 1 <= len(value.get("JobFlowIds", [])) <= TERMINATIONS_MAX:
        faults.add("JobFlowIds", f"length {len(value.get('JobFlowIds', []))} is not of 1 to {TERMINATIONS_MAX}")


def limit_list_steps(value, faults):
    if len(value.get("StepIds", [])) > LISTED_STEPS_MAX:
        faults.add("StepIds", f"length {len(value['StepIds'])} is more than {LISTED_STEPS_MAX}")


def limit_cancel_steps(value, faults):
    if not 1 <= len(value.get("StepIds", [])) <= ACTIVE_STEPS_MAX:
        faults.add("StepIds", f"length {len(value.get('StepIds', []))} is not of 1 to {ACTIVE_STEPS_MAX}")


def limit_start_execution(value, faults):
    name = value.get("name", "")
    if not EXECUTION_NAME.fullmatch(name):
        faults.add("name", f"`{name}` is not of 1 to 80 letters, digits, `-`, `_`, `.`")
    text = value.get("input", "")
    if len(text.encode()) > STATE_BYTES_MAX:
        faults.add("input", f"{len(text.encode())} bytes are more than {STATE_BYTES_MAX}")
    try:
        json.loads(text)
    except ValueError:
        faults.add("input", "is not JSON")


def key_of(action):
    """Table and key of one action of a transaction; of an item the key attributes that our tables have."""
    key = action.get("Key")
    if key is None:
        item = action.get("Item", {})
        names = ("partition", "sort") if "partition" in item else ("identifier", "config")
        key = {name: item.get(name) for name in names}
    return action.get("TableName"), json.dumps(key, sort_keys=True)


def item_bytes(item):
    """Bytes that an item counts for: names and values, and a little for each container."""
    if isinstance(item, dict):
        return sum(len(name.encode()) + item_bytes(value) for name, value in item.items())
    if isinstance(item, list):
        return sum(1 + item_bytes(value) for value in item)
    return len(str(item).encode())


def limit_item(value, faults):
    size = item_bytes(value.get("Item", {}))
    if size > ITEM_BYTES_MAX:
        faults.add("Item", f"{size} bytes are more than {ITEM_BYTES_MAX}")


def limit_transact_write_items(value, faults):
    actions = [action for entry in value.get("TransactItems", []) for action in entry.values()]
    if not 1 <= len(actions) <= TRANSACTION_MAX:
        faults.add("TransactItems", f"length {len(actions)} is not of 1 to {TRANSACTION_MAX}")
    for key, times in Counter(key_of(action) for action in actions).items():
        if times > 1:
            faults.add("TransactItems", f"{key[1]} is there {times} times")
    for action in actions:
        limit_item(action, faults)


def limit_publish(value, faults):
    subject = value.get("Subject", "")
    if len(subject) > SUBJECT_CHARACTERS_MAX or any(ord(c) < 32 or 127 <= ord(c) < 160 for c in subject) or subject.startswith(" "):
        faults.add("Subject", f"{subject!r} is not under 100 characters without line breaks and control characters")
    if not value.get("Message") or len(value["Message"].encode()) > MESSAGE_BYTES_MAX:
        faults.add("Message", f"is empty, or more than {MESSAGE_BYTES_MAX} bytes")


LIMITS = {
    ("emr", "RunJobFlow"): limit_run_job_flow,
    ("emr", "AddJobFlowSteps"): limit_add_job_flow_steps,
    ("emr", "TerminateJobFlows"): limit_terminate_job_flows,
    ("emr", "ListSteps"): limit_list_steps,
    ("emr", "CancelSteps"): limit_cancel_steps,
    ("stepfunctions", "StartExecution"): limit_start_execution,
    ("dynamodb", "TransactWriteItems"): limit_transact_write_items,
    ("dynamodb", "PutItem"): limit_item,
    ("sns", "Publish"): limit_publish,
}


# ---- the judge -------------------------------------------------------------------------------------------------------


def judge(request):
    """Service and operation of a request, and what is wrong with it."""
    faults = Faults()
    service = SERVICES.get(request["service"])
    if service is None:
        faults.add("service", f"`{request['service']}` is not one that is called")
        return f"{request['service']} ?", faults.found
    model = model_of(service)
    request = {**request, "headers": {name.lower(): text for name, text in request["headers"].items()}}
    operation, value = READERS[model.protocol](request, model, faults)
    # Of a request that is not of its shape the limits say nothing new.
    if not faults.found and (limit := LIMITS.get((service, operation))):
        limit(value, faults)
    return f"{service} {operation or '?'}", faults.found


def requests_in(paths):
    for path in map(Path, paths):
        files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
        for file in files:
            for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
                if line.strip():
                    yield f"{file.name}:{number}", json.loads(line)


def expanded(value):
    """`{"repeat": [what, times]}` as text, or as a list where it is no text."""
    if isinstance(value, list):
        return [expanded(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "repeat" in value:
        what, times = value["repeat"]
        return what * times if isinstance(what, str) else [expanded(what)] * times
    return {name: expanded(item) for name, item in value.items()}


def self_test(path):
    """A judge that finds nothing in broken requests is none."""
    wrong = []
    for place, request in requests_in([path]):
        violation, body = request["violation"], expanded(request["body"])
        body = body if isinstance(body, str) else json.dumps(body)
        operation, found = judge({"caller": "", **request, "body": body})
        if not any(violation in text for text in found) if violation else found:
            wrong.append(f"{place} {operation}: expected {violation!r}, found {found}")
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


def serve():
    for line in sys.stdin:
        operation, found = judge(json.loads(line))
        print(json.dumps([f"{operation}: {text}" for text in found]), flush=True)
    return 0


def main(arguments):
    if arguments == ["--serve"]:
        return serve()
    if arguments[:1] == ["--self-test"]:
        return self_test(arguments[1])
    expected = []
    if arguments[:1] == ["--expect"]:
        lines = Path(arguments[1]).read_text(encoding="utf-8").splitlines()
        expected = [line for line in lines if line and not line.startswith("#")]
        arguments = arguments[2:]
    seen, violations = Counter(), []
    for place, request in requests_in(arguments):
        operation, found = judge(request)
        seen[operation] += 1
        violations += [f"{place} {operation} by {request['caller']}: {text}" for text in found]
    for operation, times in sorted(seen.items()):
        print(f"{operation} {times}")
    if not seen:
        violations.append("there is no request in the record")
    violations += [f"{operation}: was not seen" for operation in expected if operation not in seen]
    for line in violations:
        print(line, file=sys.stderr)
    print(f"{sum(seen.values())} requests of {len(seen)} operations, {len(violations)} violations")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
