"""A CloudFormation template, read and worked out for given parameters: what its conditions leave, with what its functions say.

Only as far as deploy/stack.yaml needs it (CloudFormation user guide, "Intrinsic function reference"). What AWS alone knows (ids,
ARNs of what is made) becomes a readable stand-in.
"""

import re

import yaml

REGION, ACCOUNT = "eu-central-1", "123456789012"
PSEUDO = {"AWS::Region": REGION, "AWS::AccountId": ACCOUNT, "AWS::Partition": "aws", "AWS::StackName": "mc-idle-survival"}
NOTHING = object()


class Loader(yaml.SafeLoader):
    """Reads the short forms of functions: !Ref x is {"Ref": "x"}, !Sub x is {"Fn::Sub": x}."""


def function(loader, suffix, node):
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


Loader.add_multi_constructor("!", function)
# A date is a text for CloudFormation.
Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in Loader.yaml_implicit_resolvers.items()
}


def read(file):
    return yaml.load(file.read_text(), Loader)  # noqa: S506 (a SafeLoader's child)


class Stack:
    """`template` with these parameters; those that are not given have their defaults."""

    def __init__(self, template, **parameters):
        self.template = template
        known = template["Parameters"]
        unknown = set(parameters) - set(known)
        assert not unknown, f"the template has no parameters {unknown}"
        self.parameters = {name: each.get("Default") for name, each in known.items()} | parameters
        missing = [name for name, value in self.parameters.items() if value is None]
        assert not missing, f"no value for {missing}"
        self.resources = {
            name: self.resource(name) for name, each in template["Resources"].items() if self.holds(each.get("Condition"))
        }
        self.outputs = {
            name: self.worked_out(each["Value"]) for name, each in template["Outputs"].items() if self.holds(each.get("Condition"))
        }

    def violated(self):
        """What the template's rules have against these parameters."""
        rules = self.template.get("Rules", {}).values()
        held = [rule for rule in rules if self.condition(rule["RuleCondition"])]
        return [each["AssertDescription"] for rule in held for each in rule["Assertions"] if not self.condition(each["Assert"])]

    def resource(self, name):
        each = self.template["Resources"][name]
        return each | {"Properties": self.worked_out(each.get("Properties", {}))}

    def of_type(self, kind):
        return {name: each for name, each in self.resources.items() if each["Type"] == kind}

    def properties(self, name):
        return self.resources[name]["Properties"]

    def holds(self, name):
        return name is None or self.condition(self.template["Conditions"][name])

    def condition(self, form):
        (kind, of), = form.items()
        if kind == "Condition":
            return self.holds(of)
        if kind == "Fn::Not":
            return not self.condition(of[0])
        if kind == "Fn::And":
            return all(self.condition(each) for each in of)
        if kind == "Fn::Or":
            return any(self.condition(each) for each in of)
        assert kind == "Fn::Equals", f"a condition that is not known here: {kind}"
        left, right = (self.worked_out(each) for each in of)
        return str(left) == str(right)

    def worked_out(self, value):
        if isinstance(value, list):
            return [each for each in (self.worked_out(each) for each in value) if each is not NOTHING]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            (kind, of), = value.items()
            if kind == "Ref" or kind.startswith("Fn::"):
                return getattr(self, kind.removeprefix("Fn::").lower())(of)
        worked_out = {key: self.worked_out(each) for key, each in value.items()}
        return {key: each for key, each in worked_out.items() if each is not NOTHING}

    def ref(self, name):
        if name == "AWS::NoValue":
            return NOTHING
        if name in PSEUDO:
            return PSEUDO[name]
        if name in self.parameters:
            return self.parameters[name]
        return self.made(name, self.physical_id(name))

    def getatt(self, of):
        name, attribute = of
        if attribute == "Arn":
            return self.made(name, self.arn(name))
        return self.made(name, f"{name}.{attribute}")

    def made(self, name, value):
        each = self.template["Resources"][name]
        assert self.holds(each.get("Condition")), f"{name} is referred to, and is not made"
        return value

    def physical_id(self, name):
        properties = self.template["Resources"][name].get("Properties", {})
        for key in ("FunctionName", "LogGroupName", "DashboardName"):
            if key in properties and self.template["Resources"][name]["Type"] != "AWS::Lambda::Permission":
                return self.worked_out(properties[key])
        return f"<{name}>"

    def arn(self, name):
        kind = self.template["Resources"][name]["Type"]
        own = self.physical_id(name)
        return {
            "AWS::Logs::LogGroup": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{own}:*",
            "AWS::Lambda::Function": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{own}",
            "AWS::IAM::Role": f"arn:aws:iam::{ACCOUNT}:role/{own}",
        }.get(kind, f"arn:{own}")

    def sub(self, of):
        text, own = (of, {}) if isinstance(of, str) else of
        own = {name: self.worked_out(value) for name, value in own.items()}

        def put_in(found):
            name = found.group(1)
            if name.startswith("!"):
                return "${" + name[1:] + "}"
            if name in own:
                return str(own[name])
            return str(self.getatt(name.split(".", 1)) if "." in name else self.ref(name))

        return re.sub(r"\$\{([^}]*)\}", put_in, text)

    def select(self, of):
        return self.worked_out(of[1])[int(self.worked_out(of[0]))]

    def getazs(self, of):
        return [f"{self.worked_out(of) or REGION}{letter}" for letter in "abc"]

    def base64(self, of):
        return self.worked_out(of)

    def __getattr__(self, name):
        if name == "if":
            return lambda of: self.worked_out(of[1] if self.holds(of[0]) else of[2])
        raise AttributeError(name)
