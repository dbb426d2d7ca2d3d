"""Judge: what no tool catches, between template, definition and code. `own.py` prints findings as JSON.

A check is a function of the `Subject`; it asks `see(whether it holds, where, what is wrong)` for each thing that it looks at.
"""

import functools
import json
import pathlib
import re
import sys

import transform
from resolve import Stack, listed, policies
from transform import DEFINITION

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHECKS = {}


def check(function):
    CHECKS[function.__name__.replace("_", "-")] = function
    return function


class Subject:
    """The template, its definition and the sources that both have to agree with."""

    def __init__(self, texts=None):
        self.texts = texts or {}
        self.template = transform.parsed(self.text("template.yaml"))
        self.definition = json.loads(self.text(DEFINITION))
        self.parameters = transform.parameters(self.template)
        self.transformed = transform.transformed(self.template, self.text)
        self.stack = Stack(self.transformed, self.parameters)
        self.resources = self.stack.resources()
        self.long = Long(self)
        self.tasks = words(r"pub const TASKS: \[&str; \d+\] = \[(.*?)\];", self.text("crates/tasks/src/lib.rs"))
        self.metrics = words(
            r"pub enum MetricName \{(.*?)\}", self.text("crates/pipeline/src/metric.rs"), r"^\s*(\w+),"
        )

    def text(self, path):
        if path not in self.texts:
            self.texts[path] = (ROOT / path).read_text()
        return self.texts[path]

    def of_type(self, kind, resources=None):
        found = self.resources if resources is None else resources
        return {name: one["Properties"] for name, one in found.items() if one["Type"] == kind}

    def functions(self):
        """Each task's function, as the template states it, by the word of the task."""
        return {
            one["Metadata"]["BuildProperties"]["Binary"]: (name, one["Properties"])
            for name, one in self.template["Resources"].items()
            if one["Type"] == "AWS::Serverless::Function"
        }

    def states(self, kind):
        return {name: state for name, state in self.definition["States"].items() if state["Type"] == kind}

    def statements(self, *kinds):
        for name, kind, document in policies(self.resources):
            for statement in document["Statement"]:
                if kind in kinds:
                    yield f"{name}.{statement.get('Sid', 'trust')}", statement


class Long(Stack):
    """The same stack with a name of 60 characters, six subnets, security groups of other people, and schedules on."""

    def __init__(self, subject):
        others = dict.fromkeys(
            ("PrimarySecurityGroupId", "CoreSecurityGroupId", "ServiceAccessSecurityGroupId"), "sg-0123456789abcdef0"
        )
        subnets = {"VpcSubnetIds": ",".join(["subnet-0123456789abcdef0"] * 6), "SchedulesState": "ENABLED"}
        super().__init__(subject.transformed, {**subject.parameters, **others, **subnets}, "x" * 60)

    def functions(self):
        return {
            name: resource["Properties"]["Environment"]["Variables"]
            for name, resource in self.resources().items()
            if resource["Type"] == "AWS::Lambda::Function"
        }


def words(block, text, word=r'"([^"]+)"'):
    found = re.search(block, text, re.S)
    if found is None:
        raise SystemExit(f"own.py: nothing in the sources fits {block}\nhint: the source has moved, and this check with it")
    return re.findall(word, found[1], re.M)


def camel(task):
    return "".join(part.capitalize() for part in task.split("-"))


# Schedules


def schedule_fault(expression):
    """Why EventBridge would refuse it, or nothing."""
    rate = re.fullmatch(r"rate\((\d+) (minutes?|hours?|days?)\)", expression)
    if rate:
        number, unit = int(rate[1]), rate[2]
        if number == 0:
            return "a rate is at least 1"
        return f"`{number} {unit}`: 1 is singular, more are plural" if (number == 1) == unit.endswith("s") else None
    cron = re.fullmatch(r"cron\((.*)\)", expression)
    if not cron:
        return "neither `rate(…)` nor `cron(…)`"
    fields = cron[1].split(" ")
    if len(fields) != 6:
        return f"a cron expression has 6 fields, not {len(fields)}"
    if (fields[2] == "?") == (fields[4] == "?"):
        return "just one of day of month and day of week is `?`"
    limits = [(0, 59), (0, 23), (1, 31), (1, 12), (1, 7), (1970, 2199)]
    for field, (low, high) in zip(fields, limits):
        numbers = [int(number) for number in re.findall(r"(?<![/#])\b\d+", field)]
        if not re.fullmatch(r"[A-Z0-9*?,/#LW-]+", field) or any(not low <= number <= high for number in numbers):
            return f"`{field}` is not between {low} and {high}"
    return None


@check
def schedule_expressions(subject, see):
    for kind in ("AWS::Scheduler::Schedule", "AWS::Events::Rule"):
        for name, properties in subject.of_type(kind).items():
            if "ScheduleExpression" in properties:
                fault = schedule_fault(properties["ScheduleExpression"])
                see(not fault, name, f"`{properties['ScheduleExpression']}`: {fault}")


@check
def schedule_parameters(subject, see):
    """A parameter takes what EventBridge takes, and refuses the usual slips."""
    examples = [
        "rate(1 minute)", "rate(1 hour)", "rate(2 hours)", "rate(10 days)", "cron(0 3 ? * SUN *)", "cron(0/30 * * * ? *)",
        "rate(7 day)", "rate(1 days)", "rate(0 hours)", "rate(2 weeks)", "rate(2  hours)", "every 2 hours", "cron(0 3 * * ?)",
    ]  # fmt: skip
    for name in subject.template["Parameters"]:
        if name.endswith("Schedule"):
            pattern = subject.template["Parameters"][name]["AllowedPattern"]
            for example in examples:
                taken = re.fullmatch(pattern, example) is not None
                see(taken == (schedule_fault(example) is None), name, f"its pattern is wrong about `{example}`")


@check
def schedule_inputs(subject, see):
    """What a schedule starts is a `StartInput`; one occurrence is one run, however often it is delivered."""
    run = subject.text("crates/pipeline/src/run.rs")
    start = set(words(r"pub struct StartInput \{(.*?)\n\}", run, r"^\s*pub (\w+):"))
    trigger = set(words(r"pub struct Trigger \{(.*?)\n\}", run, r"^\s*pub (\w+):"))
    machine = subject.stack.reference("PipelineStateMachine")
    time = "<aws.scheduler.scheduled-time>"
    started = set()
    for name, properties in subject.of_type("AWS::Scheduler::Schedule").items():
        target = properties["Target"]
        see("RetryPolicy" in target and "DeadLetterConfig" in target, name, "without a retry policy or a queue of dead letters")
        see(properties["FlexibleTimeWindow"] == {"Mode": "OFF"}, name, "its time is flexible")
        given = json.loads(target["Input"])
        if target["Arn"] != machine:
            continue
        see(properties["State"] == "DISABLED", name, "it is on by default")
        see({"identifier", "pipeline", "trigger"} <= set(given) <= start, name, f"not a start input: {sorted(given)}")
        see(set(given["trigger"]) <= trigger, name, f"not a trigger: {sorted(given['trigger'])}")
        see(given["identifier"] == subject.parameters["UseCase"], name, "its identifier is not `UseCase`")
        see(given["trigger"]["kind"] == "schedule", name, "its trigger is not a schedule")
        see(given["trigger"]["id"] == time == given["trigger"].get("due"), name, f"its trigger is not `{time}`")
        interval = given["trigger"].get("interval_minutes")
        see(interval == properties["ScheduleExpression"], name, "its interval is not that of the schedule")
        started.add(given["pipeline"])
    see(started == {"jdbc_load", "incremental_hudi"}, "schedules", f"they start {sorted(started)}")


# The definition


@check
def substitutions(subject, see):
    machine = subject.template["Resources"]["PipelineStateMachine"]["Properties"]
    given = set(machine["DefinitionSubstitutions"])
    wanted = set(re.findall(r"\$\{(\w+)\}", subject.text(DEFINITION)))
    for name in sorted(given | wanted):
        see(name in given, "PipelineStateMachine", f"nothing is substituted for `{name}`")
        see(name in wanted, "PipelineStateMachine", f"`{name}` is substituted, and not in the definition")


STATE_KEYS = {
    "Task": {"Resource", "Parameters", "ResultPath", "ResultSelector", "TimeoutSeconds", "HeartbeatSeconds", "Retry", "Catch"},
    "Choice": {"Choices", "Default"},
    "Wait": {"Seconds", "SecondsPath", "Timestamp", "TimestampPath"},
    "Succeed": set(),
    "Fail": {"Error", "Cause", "ErrorPath", "CausePath"},
}
RETRY_KEYS = {"ErrorEquals", "IntervalSeconds", "BackoffRate", "MaxAttempts", "MaxDelaySeconds", "JitterStrategy"}
CATCH_KEYS = {"ErrorEquals", "ResultPath", "Next"}


@check
def definition_keys(subject, see):
    """Step Functions refuses some unknown keys and ignores others: a misspelt one would be a retry that never happens."""
    for name, state in subject.definition["States"].items():
        known = STATE_KEYS[state["Type"]] | {"Type", "Comment", "InputPath", "OutputPath"}
        known |= {"Next", "End"} if state["Type"] in ("Task", "Wait") else set()
        for key in state:
            see(key in known, name, f"`{key}` is no key of a {state['Type']}")
        for retry in state.get("Retry", []):
            for key in retry:
                see(key in RETRY_KEYS, name, f"`{key}` is no key of a retrier")
            see({"ErrorEquals", "MaxAttempts", "MaxDelaySeconds", "JitterStrategy"} <= set(retry), name, "a retrier without a bound")
        for catch in state.get("Catch", []):
            for key in catch:
                see(key in CATCH_KEYS, name, f"`{key}` is no key of a catcher")
            see(catch.get("Next") in subject.definition["States"], name, "a catcher leads nowhere")


SERVICE_ERRORS = {
    "Lambda.ServiceException", "Lambda.ClientExecutionTimeoutException", "Lambda.AWSLambdaException", "Lambda.SdkClientException", "Lambda.TooManyRequestsException",
    "Lambda.Unknown", "Lambda.ResourceNotReadyException", "Sandbox.Timedout", "Runtime.ExitError", "States.ALL", "States.Timeout", "States.TaskFailed",
    "States.Permissions", "States.Runtime", "States.HeartbeatTimeout", "States.DataLimitExceeded",
}  # fmt: skip


@check
def error_names(subject, see):
    """`ErrorEquals` names errors that there are; what may go away by itself is retried by every task."""
    named = set(words(r"pub fn name\(&self\) -> &'static str \{(.*?)\n    \}", subject.text("crates/tasks/src/error.rs")))
    named |= set(re.findall(r'pub const [A-Z_]+: &str = "(\w+)";', subject.text("crates/aws/src/lambda.rs")))
    transient = {"Transient", "Conflict", "ConfigMoving", "Lambda.ServiceException", "Lambda.SdkClientException", "Lambda.TooManyRequestsException"}
    for state, body in subject.states("Task").items():
        retried = [error for retry in body["Retry"] for error in retry["ErrorEquals"]]
        for error in retried + [error for catch in body["Catch"] for error in catch["ErrorEquals"]]:
            see(error in named | SERVICE_ERRORS, state, f"no task and no service fails with `{error}`")
        for error in sorted(transient):
            see(error in retried, state, f"`{error}` is not retried")


@check
def definition_resources(subject, see):
    """Each task state calls the published version of the function of its own word, and nothing else."""
    given = subject.template["Resources"]["PipelineStateMachine"]["Properties"]["DefinitionSubstitutions"]
    for state, body in subject.states("Task").items():
        see(body["Resource"] == f"${{{state}FunctionArn}}", state, f"it calls `{body['Resource']}`")
        version = given.get(f"{state}FunctionArn")
        see(version == {"Ref": f"{state}Function.Version"}, state, f"not a version of `{state}Function`: {version}")
    allowed = [
        resource
        for name, statement in subject.statements("identity")
        if name.startswith("PipelineRole") and "lambda:InvokeFunction" in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    ]
    arns = {subject.stack.attribute(f"{state}Function", "Arn") + ":*" for state in subject.states("Task")}
    see(set(allowed) == arns, "PipelineRole", f"it may invoke {sorted(set(allowed) ^ arns)}")


@check
def one_word_per_task(subject, see):
    functions = subject.functions()
    see(sorted(functions) == sorted(subject.tasks), "template.yaml", f"functions of {sorted(functions)}")
    for task in subject.tasks:
        name, properties = functions.get(task, (None, {}))
        see(name == f"{camel(task)}Function", task, f"its function is `{name}`")
        role = {"Fn::GetAtt": [f"{camel(task)}Role", "Arn"]}
        see(properties.get("Role") in (role, {"Fn::GetAtt": f"{camel(task)}Role.Arn"}), task, f"its role is {properties.get('Role')}")
        see(task == "sweep" or camel(task) in subject.states("Task"), task, "the definition has no state for it")
        for path in (f"crates/tasks/src/{task.replace('-', '_')}.rs", f"crates/aws/src/bin/{task}.rs", f"events/{task}.json"):
            see((ROOT / path).is_file(), task, f"there is no `{path}`")
    for folder, ending in (("crates/aws/src/bin", "rs"), ("events", "json")):
        for path in sorted((ROOT / folder).glob(f"*.{ending}")):
            see(path.stem in subject.tasks, path.stem, f"`{folder}/{path.name}` is of no task")


@check
def time_outs(subject, see):
    """A function ends before its state gives it up, so that no two attempts of one task run at once."""
    for task, (name, properties) in subject.functions().items():
        limit = 300 if task == "sweep" else subject.definition["States"][camel(task)]["TimeoutSeconds"]
        see(limit / 2 < properties["Timeout"] < limit, name, f"it may take {properties['Timeout']} s of {limit} s")


# Functions


@check
def environment(subject, see):
    """Each function is told what its task needs, and nothing else."""
    source = subject.text("crates/aws/src/resources.rs")
    needs = words(r"pub const NEEDS: [^=]* = \[(.*?)\n\];", source, r'\(\s*"([\w-]+)",\s*&\[([^\]]*)\]')
    needs = {task: set(re.findall(r'"(\w+)"', names)) for task, names in needs}
    see(set(needs) == set(subject.tasks), "resources.rs", f"needs of {sorted(needs)}")
    deployed = subject.of_type("AWS::Lambda::Function")
    for task, (name, _) in subject.functions().items():
        given = deployed[name]["Environment"]["Variables"]
        for variable in sorted(set(given) | needs.get(task, set())):
            see(variable in given, name, f"`{variable}` is not in its environment")
            see(variable in needs.get(task, ()), name, f"`{variable}` is in its environment, and not needed")
            see(given.get(variable) != "", name, f"`{variable}` is empty")
        size = sum(len(key) + len(value) for key, value in subject.long.functions()[name].items())
        see(size <= 4096, name, f"Lambda takes 4096 bytes of environment, not {size}")


@check
def deployment(subject, see):
    """Zones and cluster are the deployment's, in the environment and among the outputs alike."""
    source = subject.text("crates/pipeline/src/deployment.rs")
    known = {
        "ZONES": set(words(r"const KNOWN_ZONES: [^=]* = &\[(.*?)\];", source)),
        "CLUSTER": set(words(r"const KNOWN_CLUSTER: [^=]* = &\[(.*?)\];", source)) - {"subnets", "tags"},
    }
    profiles = set(words(r"const KNOWN_PROFILES: [^=]* = &\[(.*?)\];", source))
    groups = set(words(r"const KNOWN_GROUPS: [^=]* = &\[(.*?)\];", source))
    given = subject.of_type("AWS::Lambda::Function")["ReadConfigFunction"]["Environment"]["Variables"]
    outputs = subject.stack.outputs()
    for name, keys in known.items():
        value = json.loads(given[f"HEADWATER_{name}"])
        see(set(value) == keys, "ReadConfigFunction", f"`HEADWATER_{name}` has {sorted(set(value) ^ keys)}")
    cluster = json.loads(given["HEADWATER_CLUSTER"])
    see(set(cluster["instance_profiles"]) == profiles, "ReadConfigFunction", "its profiles are not those of the zones")
    see(set(cluster["security_groups"]) == groups, "ReadConfigFunction", "its security groups are not those of a deployment")
    for output in ("Zones", "Cluster", "Subnets", "Artifacts", "ConfigTable", "LedgerTable", "Topic"):
        variable = "HEADWATER_" + re.sub(r"(?<!^)(?=[A-Z])", "_", output).upper()
        see(outputs.get(output) == given.get(variable), "Outputs", f"`{output}` is not `{variable}`")


@check
def versions(subject, see):
    """A deploy publishes versions; a running execution keeps those that it began with."""
    for _, (name, properties) in subject.functions().items():
        see(properties.get("AutoPublishAliasAllProperties") is True, name, "a change of its configuration makes no version")
        made = [one for key, one in subject.transformed["Resources"].items() if key.startswith(f"{name}Version")]
        see([one.get("DeletionPolicy") for one in made] == ["Retain"], name, "its old versions are not kept")
    parameters = {"VpcSubnetIds", "PrimarySecurityGroupId", "CoreSecurityGroupId", "ServiceAccessSecurityGroupId"}
    parameters |= {"NativeInstanceType", "NativeReleaseLabel"}
    for _, (name, properties) in subject.functions().items():
        used = references(properties["Environment"]) & set(subject.parameters)
        described = references(properties.get("VersionDescription", ""))
        see(used <= described, name, f"a change of {sorted(used - described)} makes no version")
    see(parameters <= references(subject.functions()["read-config"][1]["Environment"]), "ReadConfigFunction", "parameters are missing")


def references(value):
    """Names that a value refers to."""
    if isinstance(value, list):
        return set().union(*map(references, value))
    if not isinstance(value, dict):
        return set()
    found = set()
    for key, inner in value.items():
        if key == "Ref":
            found.add(inner)
        elif key == "Fn::Sub":
            text = inner if isinstance(inner, str) else inner[0]
            found |= {name.split(".")[0] for name in re.findall(r"\$\{([^!}][^}]*)\}", text)}
            found |= references(inner)
        elif key == "Fn::GetAtt":
            found.add(inner.split(".")[0] if isinstance(inner, str) else inner[0])
        elif key in ("Fn::If", "Condition") and isinstance(inner, (list, str)):
            found.add(inner if isinstance(inner, str) else inner[0])
            found |= references(inner)
        else:
            found |= references(inner)
    return found


# Parameters and outputs


@check
def parameters(subject, see):
    template = subject.template
    used = references({key: template[key] for key in ("Resources", "Outputs", "Conditions", "Globals", "Rules")})
    shown = template["Metadata"]["AWS::CloudFormation::Interface"]
    grouped = [name for group in shown["ParameterGroups"] for name in group["Parameters"]]
    for name in template["Parameters"]:
        see(name in used, name, "the parameter is not used")
        see(grouped.count(name) == 1, name, "the parameter is not in one group")
        see(name in shown["ParameterLabels"], name, "the parameter has no label")
    for name in grouped + list(shown["ParameterLabels"]):
        see(name in template["Parameters"], name, "there is no such parameter")
    for name in template.get("Conditions", {}):
        used = references({key: template[key] for key in ("Resources", "Outputs")})
        see(name in used, name, "the condition is not used")


OUTPUTS = {
    "ConfigTable", "LedgerTable", "StateMachine", "Topic", "Artifacts", "Zones", "Cluster", "Subnets", "Secret", "Identifier",
    "Logs", "Schedules",
}  # fmt: skip


@check
def outputs(subject, see):
    """CloudFormation cuts nothing: a value over 1024 characters fails the deploy. Names may be long."""
    for name, value in subject.long.outputs().items():
        see(len(value) <= 1024, name, f"the output has {len(value)} characters")
    for name in sorted(OUTPUTS):
        see(name in subject.template["Outputs"], name, "the output is missing")


# Permissions


@check
def no_wildcard_actions(subject, see):
    """The one exception is the key's own policy: without the account's full access nobody could ever change it."""
    account = "StackKey.PoliciesOfTheAccountDecide"
    for name, statement in subject.statements("identity", "resource"):
        for action in listed(statement["Action"]):
            fine = "*" not in action or statement["Effect"] == "Deny" or name == account
            see(fine, name, f"`{action}` is every action that begins so")


@functools.cache
def resource_levels():
    """Whether an action can be limited to resources, as parliament carries it from the service authorization reference."""
    definition = next((ROOT / ".tools/parliament/lib").glob("python*/site-packages/parliament/iam_definition.json"))
    levels = {}
    for service in json.loads(definition.read_text()):
        for privilege in service["privileges"]:
            kinds = [kind["resource_type"] for kind in privilege["resource_types"]]
            levels[f"{service['prefix']}:{privilege['privilege']}"] = any(kinds)
    return levels


@check
def narrow_resources(subject, see):
    """`*` is only for actions whose service knows no resources."""
    levels = resource_levels()
    for name, statement in subject.statements("identity"):
        for action in listed(statement["Action"]):
            see(action in levels, name, f"there is no action `{action}`")
            wide = "*" in listed(statement["Resource"])
            see(not wide or not levels.get(action), name, f"`{action}` can be limited to resources")


@check
def passed_roles(subject, see):
    roles = {subject.stack.attribute(name, "Arn") for name in subject.of_type("AWS::IAM::Role")}
    for name, statement in subject.statements("identity"):
        if "iam:PassRole" in listed(statement["Action"]):
            service = statement.get("Condition", {}).get("StringEquals", {}).get("iam:PassedToService")
            see(service in ("ec2.amazonaws.com", "elasticmapreduce.amazonaws.com"), name, "it does not say to which service")
            for role in listed(statement["Resource"]):
                see(role in roles, name, f"it may pass `{role}`, which is no role of this stack")


@check
def own_clusters(subject, see):
    """What changes or reads a cluster is limited to this stack's by its tag."""
    free = {"elasticmapreduce:ListClusters"}
    for name, statement in subject.statements("identity"):
        actions = {action for action in listed(statement["Action"]) if action.startswith("elasticmapreduce:")} - free
        for action in sorted(actions):
            conditions = {key: value for one in statement.get("Condition", {}).values() for key, value in one.items()}
            tags = {value for key, value in conditions.items() if key.endswith("Tag/headwater:stack")}
            see(tags == {subject.stack.name}, name, f"`{action}` is not limited to clusters of the stack")


@check
def policy_sizes(subject, see):
    """What IAM takes, without blanks: 10,240 characters of a role's own policies, 6,144 of a managed one."""
    sizes = {}
    for name, kind, document in policies(subject.long.resources()):
        if kind == "identity":
            role, _, inline = name.partition(".")
            sizes.setdefault((role, 10_240 if inline else 6_144), []).append(len(json.dumps(document, separators=(",", ":"))))
    for (role, limit), some in sizes.items():
        see(sum(some) <= limit, role, f"its policies have {sum(some)} characters of {limit}")


@check
def text_limits(subject, see):
    """Lengths that the services refuse only in the deploy."""
    limits = {"AWS::Lambda::Function": 256, "AWS::Lambda::Version": 256, "AWS::Scheduler::Schedule": 512, "AWS::Events::Rule": 512}
    names = {"AWS::StepFunctions::StateMachine": ("StateMachineName", 80), "AWS::SecretsManager::Secret": ("Name", 512)}
    for name, resource in subject.long.resources().items():
        said = resource["Properties"].get("Description", "")
        limit = limits.get(resource["Type"], 1000)
        see(len(said) <= limit, name, f"its description has {len(said)} characters of {limit}")
        if resource["Type"] in names:
            key, limit = names[resource["Type"]]
            see(len(resource["Properties"][key]) <= limit, name, f"its name has over {limit} characters")


@check
def settings_of_sam(subject, see):
    """Builds are never cached: the key would be one folder, and a change in another crate would not be seen."""
    text = subject.text("samconfig.toml")
    see("cached = false" in text and "cached = true" not in text, "samconfig.toml", "builds are cached")
    see(not re.search(r"^(region|profile|role_arn)\b", text, re.M), "samconfig.toml", "it names somebody's account")
    see('capabilities = "CAPABILITY_IAM"' in text, "samconfig.toml", "it asks for another capability than roles")
    named = [name for name, role in subject.of_type("AWS::IAM::Role").items() if "RoleName" in role]
    see(not named, "samconfig.toml", f"CAPABILITY_IAM does not do for named roles: {named}")


PARTITIONS = {"run#*", "steps#*", "open", "runs#*", "admission", "outbox", "position", "complete"}
WORKERS_WRITE = {"steps#*", "position", "complete"}


@check
def ledger_partitions(subject, see):
    """Every access to the ledger names its partitions; workers write only what is theirs."""
    source = subject.text("crates/tasks/src/record.rs")
    for partition in sorted(PARTITIONS):
        text = f'"{partition.rstrip("*")}' + ("{" if partition.endswith("*") else '"')
        see(text in source, partition, "record.rs has no such partition")
    ledger = subject.stack.attribute("LedgerTable", "Arn")
    workers = ("WorkerPolicy", "BronzeRole", "SilverRole", "GoldRole")
    for name, statement in subject.statements("identity"):
        if ledger not in listed(statement["Resource"]):
            continue
        keys = listed(statement.get("Condition", {}).get("ForAllValues:StringLike", {}).get("dynamodb:LeadingKeys", []))
        known = {re.sub(r"^runs#.*", "runs#*", key) for key in keys}
        see(bool(known) and known <= PARTITIONS, name, f"its partitions are {sorted(known)}")
        writes = {"dynamodb:PutItem", "dynamodb:DeleteItem", "dynamodb:UpdateItem"} & set(listed(statement["Action"]))
        if name.startswith(workers) and writes:
            see(known <= WORKERS_WRITE, name, f"a worker may write {sorted(known - WORKERS_WRITE)}")


@check
def zones(subject, see):
    """Bronze has the secret and its own zone; silver reads bronze; gold reads silver and never sees the secret."""
    writes = {"s3:PutObject", "s3:DeleteObject"}
    allowed = {
        "BronzeRole": ({"BronzeBucket"}, {"BronzeBucket"}, True),
        "SilverRole": ({"BronzeBucket", "SilverBucket"}, {"SilverBucket", "RuntimeBucket"}, False),
        "GoldRole": ({"SilverBucket", "GoldBucket"}, {"GoldBucket"}, False),
    }
    buckets = {subject.stack.attribute(name, "Arn"): name for name in subject.of_type("AWS::S3::Bucket")}
    for role, (read, written, secret) in allowed.items():
        seen = {"read": set(), "written": set(), "secret": False}
        for name, statement in subject.statements("identity"):
            if not name.startswith(role):
                continue
            actions = set(listed(statement["Action"]))
            touched = {buckets[arn.split("/")[0]] for arn in listed(statement["Resource"]) if arn.split("/")[0] in buckets}
            seen["read"] |= touched if "s3:GetObject" in actions else set()
            seen["written"] |= touched if actions & writes else set()
            seen["secret"] |= "secretsmanager:GetSecretValue" in actions
        see(seen["read"] == read, role, f"it reads {sorted(seen['read'])}")
        see(seen["written"] == written, role, f"it writes {sorted(seen['written'])}")
        see(seen["secret"] == secret, role, "it may read the secret" if seen["secret"] else "it may not read the secret")


# Data


@check
def kept_data(subject, see):
    kinds = ("AWS::DynamoDB::Table", "AWS::S3::Bucket", "AWS::SecretsManager::Secret")
    for name, resource in subject.resources.items():
        if resource["Type"] in kinds:
            for policy in ("DeletionPolicy", "UpdateReplacePolicy"):
                kept = resource.get(policy) == "Retain" or (policy, resource.get(policy)) == ("DeletionPolicy", "RetainExceptOnCreate")
                see(kept, name, f"its {policy} is {resource.get(policy)}")
    for name, table in subject.of_type("AWS::DynamoDB::Table").items():
        see(table.get("DeletionProtectionEnabled") is True, name, "it is not protected from deletion")
    told = {name for policy in subject.of_type("AWS::S3::BucketPolicy").values() for name in [policy["Bucket"]]}
    for name in subject.of_type("AWS::S3::Bucket"):
        see(subject.stack.reference(name) in told, name, "it has no policy that wants TLS")


# Alarms and dashboard

AWS_METRICS = {
    "AWS/SQS": ({"ApproximateNumberOfMessagesVisible"}, {"QueueName"}),
    "AWS/States": (
        {"ExecutionsStarted", "ExecutionsSucceeded", "ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted", "ExecutionThrottled"},
        {"StateMachineArn"},
    ),
    "AWS/Lambda": ({"Errors", "Throttles", "Duration"}, {"FunctionName"}),
}
"""Namespaces that are not ours: the metrics that we use of them, and their dimensions."""


def metrics_of(alarm):
    """Namespace, name, dimensions and period of each metric of an alarm."""
    if "MetricName" in alarm:
        yield alarm["Namespace"], alarm["MetricName"], alarm.get("Dimensions", []), alarm["Period"]
    for query in alarm.get("Metrics", []):
        if "MetricStat" in query:
            metric = query["MetricStat"]["Metric"]
            yield metric["Namespace"], metric["MetricName"], metric.get("Dimensions", []), query["MetricStat"]["Period"]


def widget_metrics(body):
    for widget in json.loads(body)["widgets"]:
        for metric in widget["properties"]["metrics"]:
            parts = [part for part in metric if isinstance(part, str)]
            dimensions = [{"Name": name, "Value": value} for name, value in zip(parts[2::2], parts[3::2])]
            yield widget["properties"]["title"], (parts[0], parts[1], dimensions)


@check
def metric_names(subject, see):
    used = [(name, metric[:3]) for name, alarm in subject.of_type("AWS::CloudWatch::Alarm").items() for metric in metrics_of(alarm)]
    for dashboard in subject.of_type("AWS::CloudWatch::Dashboard").values():
        used += widget_metrics(dashboard["DashboardBody"])
    for where, (namespace, name, dimensions) in used:
        given = {dimension["Name"]: dimension["Value"] for dimension in dimensions}
        if namespace == "Headwater":
            see(name in subject.metrics, where, f"no code measures `{name}`")
            see(given == {"Stack": subject.stack.name}, where, f"`{name}` is measured by stack, not by {sorted(given)}")
        else:
            names, keys = AWS_METRICS.get(namespace, (set(), set()))
            see(name in names, where, f"`{namespace}` has no `{name}` that we know")
            see(set(given) == keys, where, f"`{namespace}` `{name}` is measured by {sorted(keys)}")
    shown = {name for _, (_, name, _) in used}
    for name in subject.metrics:
        see(name in shown, name, "it is measured, and neither watched nor shown")


WATCHED = {
    "RunsFailed": "notBreaching",
    "OrphanClusters": "notBreaching",
    "Sweeps": "breaching",
    "CaptureSilent": "ignore",
    "OldestChangeFileSeconds": "ignore",
    "ConfirmedSubscriptions": "notBreaching",
    "ApproximateNumberOfMessagesVisible": "notBreaching",
    "RunsSucceeded": "breaching",
}
"""What has to have an alarm, and what missing data mean to it."""


@check
def alarms(subject, see):
    topic = subject.stack.reference("NoticeTopic")
    watched = {}
    for name, alarm in subject.of_type("AWS::CloudWatch::Alarm").items():
        see(alarm.get("AlarmActions") == [topic], name, "it tells nobody")
        for _, metric, _, _ in metrics_of(alarm):
            watched.setdefault(metric, []).append(alarm.get("TreatMissingData"))
        highest = subject.template["Parameters"]["SilentAfterHours"]["MaxValue"] if name == "NoRunAlarm" else 0
        for _, _, _, period in metrics_of(alarm):
            seconds = period * max(int(alarm["EvaluationPeriods"]), highest)
            see(seconds <= (604_800 if period >= 3600 else 86_400), name, f"CloudWatch does not look back {seconds} s")
    for metric, missing in WATCHED.items():
        taken = watched.get(metric, [])
        see(missing in taken, metric, f"no alarm on it takes missing data as {missing}, only as {taken}")
    actions = subject.template["Resources"]["NoRunAlarm"]["Properties"].get("ActionsEnabled")
    see(actions == {"Fn::If": ["SchedulesEnabled", True, False]}, "NoRunAlarm", "it speaks while schedules are off")


@check
def execution_events(subject, see):
    """The rule hears of every end of an execution of this machine, and of no other machine."""
    for name, rule in subject.of_type("AWS::Events::Rule").items():
        detail = rule["EventPattern"]["detail"]
        see(detail["stateMachineArn"] == [subject.stack.reference("PipelineStateMachine")], name, "not this machine's executions")
        see(set(detail["status"]) == {"SUCCEEDED", "FAILED", "TIMED_OUT", "ABORTED"}, name, f"it hears of {detail['status']}")
        for target in rule["Targets"]:
            see("DeadLetterConfig" in target and "RetryPolicy" in target, name, "without a retry policy or a queue of dead letters")


def judged(subject):
    found = []
    checked = 0

    def see(fine, resource, message):
        nonlocal checked
        checked += 1
        if not fine:
            found.append({"check": name, "resource": resource, "message": message})

    for name, function in CHECKS.items():
        function(subject, see)
    return {"checked": checked, "findings": found}


def main():
    json.dump(judged(Subject()), sys.stdout)


if __name__ == "__main__":
    main()
