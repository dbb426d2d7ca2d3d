"""A stack without an account: values for what CloudFormation fills in, so that policies, definitions and outputs can be read
as the services read them. Names are like those that CloudFormation makes: `<stack>-<logical id>`.
"""

import re

REGION = "eu-west-1"
ACCOUNT = "123456789012"
STACK = "lake"


def arn(service, rest, region=REGION, account=ACCOUNT):
    return f"arn:aws:{service}:{region}:{account}:{rest}"


class Stack:
    """A transformed template, its parameters, and the name of the stack."""

    def __init__(self, template, parameters, name=STACK):
        self.template = template
        self.name = name
        self.parameters = {
            key: str(value).split(",") if template["Parameters"][key]["Type"].startswith("List<") else value
            for key, value in parameters.items()
        }
        self.conditions = {}
        for condition, value in template.get("Conditions", {}).items():
            self.conditions[condition] = self.holds(value)

    def resources(self):
        """The resources that this stack has, with values in place of functions."""
        return {
            name: {**resource, "Properties": self.value(resource.get("Properties", {}))}
            for name, resource in self.template["Resources"].items()
            if self.conditions.get(resource.get("Condition"), True)
        }

    def outputs(self):
        return {name: self.value(output["Value"]) for name, output in self.template["Outputs"].items()}

    def holds(self, condition):
        (kind, value), = condition.items()
        match kind:
            case "Condition":
                return self.conditions[value] if value in self.conditions else self.holds(self.template["Conditions"][value])
            case "Fn::Equals":
                return self.value(value[0]) == self.value(value[1])
            case "Fn::Not":
                return not self.holds(value[0])
            case "Fn::And":
                return all(self.holds(one) for one in value)
            case "Fn::Or":
                return any(self.holds(one) for one in value)
        raise ValueError(f"no condition: {kind}")

    def value(self, value):
        if isinstance(value, list):
            return [one for one in map(self.value, value) if one is not None]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            (kind, inner), = value.items()
            if kind == "Ref":
                return self.reference(inner)
            if kind.startswith("Fn::"):
                return self.function(kind, inner)
        return {key: one for key, one in ((key, self.value(one)) for key, one in value.items()) if one is not None}

    def function(self, kind, inner):
        match kind:
            case "Fn::GetAtt":
                logical, attribute = inner if isinstance(inner, list) else inner.split(".", 1)
                return self.attribute(logical, attribute)
            case "Fn::Sub":
                text, names = inner if isinstance(inner, list) else (inner, {})
                return re.sub(r"\$\{([^!}][^}]*)\}", lambda found: str(self.substitute(found[1], names)), text)
            case "Fn::Join":
                return inner[0].join(map(str, self.value(inner[1])))
            case "Fn::Split":
                return self.value(inner[1]).split(inner[0])
            case "Fn::Select":
                return self.value(inner[1])[int(inner[0])]
            case "Fn::If":
                return self.value(inner[1] if self.conditions[inner[0]] else inner[2])
        raise ValueError(f"no function: {kind}")

    def substitute(self, name, names):
        if name in names:
            return self.value(names[name])
        return self.attribute(*name.split(".", 1)) if "." in name else self.reference(name)

    def reference(self, name):
        pseudo = {
            "AWS::Region": REGION,
            "AWS::AccountId": ACCOUNT,
            "AWS::Partition": "aws",
            "AWS::StackName": self.name,
            "AWS::NoValue": None,
        }
        if name in pseudo:
            return pseudo[name]
        if name in self.parameters:
            return self.parameters[name]
        return self.physical(name)[0]

    def attribute(self, logical, attribute):
        found = self.physical(logical)[1].get(attribute)
        if found is None:
            raise ValueError(f"`{logical}` has no attribute `{attribute}` here")
        return found

    def physical(self, logical):
        """What `Ref` gives, and the attributes."""
        if logical not in self.template["Resources"]:
            raise ValueError(f"there is no `{logical}`")
        resource = self.template["Resources"][logical]
        kind, properties = resource["Type"], resource.get("Properties", {})
        name = f"{self.name}-{logical}"
        match kind:
            case "AWS::DynamoDB::Table":
                return name, {"Arn": arn("dynamodb", f"table/{name}")}
            case "AWS::S3::Bucket":
                name = name.lower()
                return name, {"Arn": arn("s3", name, "", "")}
            case "AWS::SNS::Topic":
                return arn("sns", name), {"TopicName": name}
            case "AWS::SQS::Queue":
                url = f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{name}"
                return url, {"Arn": arn("sqs", name), "QueueName": name}
            case "AWS::KMS::Key":
                key = "0a1b2c3d-0000-4000-8000-0123456789ab"
                return key, {"Arn": arn("kms", f"key/{key}")}
            case "AWS::Lambda::Function":
                return name, {"Arn": arn("lambda", f"function:{name}")}
            case "AWS::Lambda::Version":
                function = self.attribute(properties["FunctionName"]["Ref"], "Arn")
                return f"{function}:1", {"Version": "1"}
            case "AWS::Lambda::Alias":
                function = self.attribute(properties["FunctionName"]["Ref"], "Arn")
                return f"{function}:{properties['Name']}", {}
            case "AWS::StepFunctions::StateMachine":
                name = self.value(properties["StateMachineName"])
                return arn("states", f"stateMachine:{name}"), {"Name": name}
            case "AWS::IAM::Role":
                return name, {"Arn": arn("iam", f"role/{name}", "")}
            case "AWS::IAM::ManagedPolicy":
                return arn("iam", f"policy/{name}", ""), {}
            case "AWS::SecretsManager::Secret":
                return arn("secretsmanager", f"secret:{self.value(properties['Name'])}-Ab1Cd2"), {}
            case "AWS::Logs::LogGroup":
                name = self.value(properties.get("LogGroupName", name))
                return name, {"Arn": arn("logs", f"log-group:{name}:*")}
            case "AWS::EC2::SecurityGroup":
                group = "sg-" + format(sum(map(ord, logical)), "017x")
                return group, {"GroupId": group}
            case "AWS::Events::Rule":
                return name, {"Arn": arn("events", f"rule/{name}")}
            case "AWS::CloudWatch::Dashboard":
                return self.value(properties["DashboardName"]), {}
        return name, {}


def policies(resources):
    """Every policy document: where it is, whether it is of an identity or of a resource, and the document."""
    for name, resource in resources.items():
        properties = resource["Properties"]
        match resource["Type"]:
            case "AWS::IAM::Role":
                yield f"{name}.trust", "trust", properties["AssumeRolePolicyDocument"]
                for policy in properties.get("Policies", []):
                    yield f"{name}.{policy['PolicyName']}", "identity", policy["PolicyDocument"]
            case "AWS::IAM::ManagedPolicy" | "AWS::IAM::Policy":
                yield name, "identity", properties["PolicyDocument"]
            case "AWS::S3::BucketPolicy" | "AWS::SNS::TopicPolicy" | "AWS::SQS::QueuePolicy":
                yield name, "resource", properties["PolicyDocument"]
            case "AWS::KMS::Key":
                yield name, "resource", properties["KeyPolicy"]


def listed(value):
    return value if isinstance(value, list) else [value]
