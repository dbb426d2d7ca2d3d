"""The CloudFormation that SAM makes of a template, offline:
`transform.py [template definition [transformed parameters]]`; JSON, on stdout or into the files.

What `sam package` does is done here: the definition is put in place of its file, and code that was not built gets an address
that does not change. The same template gives the same bytes.
"""

import json
import logging
import os
import pathlib
import sys

import yaml
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import intrinsics_multi_constructor

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEFINITION = "statemachines/pipeline.asl.json"
REGION = "eu-west-1"
CODE = {"Bucket": "code", "Key": "function.zip"}


class ManagedPolicies:
    """No policy is given by its short name: what is not an ARN is a mistake."""

    def load(self):
        return {}


def file_text(path):
    return (ROOT / path).read_text()


def packaged(template, text):
    """The template as `sam package` uploads it; `text` gives the text of a file of the repository."""
    template = json.loads(json.dumps(template))
    globals_ = template.get("Globals", {}).get("Function", {})
    if "CodeUri" in globals_:
        globals_["CodeUri"] = CODE
    for resource in template["Resources"].values():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::Serverless::Function" and "CodeUri" in properties:
            properties["CodeUri"] = CODE
        if resource["Type"] == "AWS::Serverless::StateMachine" and "DefinitionUri" in properties:
            properties["Definition"] = json.loads(text(properties.pop("DefinitionUri")))
    return template


def parameters(template):
    """Defaults, and for what has none a value of its type."""
    return {
        name: parameter["Default"] if "Default" in parameter else sample(name, parameter)
        for name, parameter in template["Parameters"].items()
    }


def sample(name, parameter):
    samples = {
        "UseCase": "shop",
        "OpsEmailAddress": "ops@example.com",
        "DbEndpoint": "db.example.com",
        "DbName": "shop",
        "DbUserNameSpark": "spark",
        "AWS::EC2::VPC::Id": "vpc-0123456789abcdef0",
        "List<AWS::EC2::Subnet::Id>": "subnet-0123456789abcdef0,subnet-0123456789abcdef1",
    }
    found = samples.get(name) or samples.get(parameter["Type"])
    if found is None:
        raise SystemExit(f"transform.py: parameter `{name}` has no default\nhint: give a value for it in `sample`")
    return found


def transformed(template, text=file_text):
    """The CloudFormation template, as values."""
    os.environ.setdefault("AWS_DEFAULT_REGION", REGION)
    # It warns that it did not send numbers about itself.
    logging.getLogger("samtranslator").setLevel(logging.ERROR)
    return transform(packaged(template, text), parameters(template), ManagedPolicies())


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """YAML with the short forms of CloudFormation's functions."""


Loader.add_multi_constructor("!", intrinsics_multi_constructor)


def parsed(text):
    return yaml.load(text, Loader)


def read(path):
    return parsed(pathlib.Path(path).read_text())


def main():
    """`transform.py` alone prints the template of this repository; with files it reads and writes those."""
    template, definition, *written = map(pathlib.Path, sys.argv[1:] or [ROOT / "template.yaml", ROOT / DEFINITION])
    given = read(template)
    made = transformed(given, lambda path: (definition if path == DEFINITION else ROOT / path).read_text())
    texts = [json.dumps(value, indent=1, sort_keys=True) + "\n" for value in (made, parameters(given))]
    if not written:
        sys.stdout.write(texts[0])
    for path, text in zip(written, texts):
        path.write_text(text)


if __name__ == "__main__":
    main()
