"""What the functions of a stack find in ministack: tables, buckets, a topic, and clusters whose steps write results.

A stack is `{"tables": {name: [partition key, sort key]}, "items": {table: [item]}, "objects": {uri: text}, "topic": name, "ledger": table,
"result": a step's result, "forgets": [step]}`. Buckets are those of `buckets`. The worker of a step writes `result` as its own to the ledger before its step
is COMPLETED; the steps of `forgets` end without.
"""

import asyncio
import copy
import json
import time


def prepare(session, stack):
    tables = session.create_client("dynamodb")
    for name, keys in stack["tables"].items():
        tables.create_table(
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
            KeySchema=[
                {"AttributeName": key, "KeyType": kind} for key, kind in zip(keys, ("HASH", "RANGE"))
            ],
        )
    for table, items in stack["items"].items():
        for item in items:
            tables.put_item(TableName=table, Item=attribute(item)["M"])
    objects = session.create_client("s3")
    for bucket in stack["buckets"]:
        objects.create_bucket(Bucket=bucket)
    for uri, text in stack["objects"].items():
        bucket, key = uri.removeprefix("s3://").split("/", 1)
        objects.put_object(Bucket=bucket, Key=key, Body=text.encode())
    session.create_client("sns").create_topic(Name=stack["topic"])
    work_on_clusters(tables, stack)


def attribute(value):
    match value:
        case bool():
            return {"BOOL": value}
        case None:
            return {"NULL": True}
        case int() | float():
            return {"N": json.dumps(value)}
        case str():
            return {"S": value}
        case list():
            return {"L": [attribute(item) for item in value]}
        case dict():
            return {"M": {name: attribute(item) for name, item in value.items()}}


def work_on_clusters(tables, stack):
    """Puts a worker into ministack's EMR, whose steps are COMPLETED as soon as they are added."""
    from ministack.services import emr

    # It gives times as text, where the protocol has seconds.
    emr._now_iso = time.time
    answer = emr.handle_request

    async def handle_request(method, path, headers, body, query):
        if headers.get("x-amz-target", "").endswith(".AddJobFlowSteps"):
            request = json.loads(body)
            cluster = emr._clusters.get(request["JobFlowId"])
            for step in request["Steps"]:
                if not any(step["Name"].endswith(name) for name in stack["forgets"]):
                    # In a thread: the ledger is behind the same server.
                    await asyncio.to_thread(work, tables, stack, cluster["Name"], step)
        return await answer(method, path, headers, body, query)

    emr.handle_request = handle_request


def work(tables, stack, cluster, step):
    """The step's result in the ledger; a cluster is called `<stack>:<run id>-c<attempt>`, a step `<index>-a<attempt>-<name>`."""
    arguments = step["HadoopJarStep"]["Args"]
    index, attempt = (
        int(arguments[arguments.index(name) + 1]) for name in ("--index", "--attempt")
    )
    now = int(time.time() * 1000)
    result = copy.deepcopy(stack["result"]) | {
        "run_id": cluster.split(":")[1].rsplit("-c", 1)[0],
        "index": index,
        "attempt": attempt,
        "name": step["Name"].split("-", 2)[2],
        "started": now,
        "ended": now,
    }
    item = {
        "partition": f"steps#{result['run_id']}",
        "sort": f"result#{index:05}#{attempt:03}",
        "version": 1,
        "body": result,
    }
    tables.put_item(TableName=stack["ledger"], Item=attribute(item)["M"])
