"""Let an application of MONAI Deploy run without its SDK, in a process that calls :func:`install` first.

Stands in for what the application uses of monai-deploy-app-sdk 4.0.0, as far as that can be seen from outside.
"""

import argparse
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import yaml


class Spec:
    def __init__(self):
        self.inputs, self.outputs = [], []
        self.input, self.output = self.inputs.append, self.outputs.append


class Operator:
    def __init__(self, fragment, *args, name, **kwargs):
        self.fragment, self.name, self.spec = fragment, name, Spec()
        self.setup(self.spec)


class Application:
    def __init__(self):
        self.argv, self.flows = sys.argv, []

    def config(self, path):
        self.settings = yaml.safe_load(Path(os.environ.get("HOLOSCAN_CONFIG_PATH", path)).read_text())

    def kwargs(self, name):
        return dict(self.settings[name])

    @staticmethod
    def init_app_context(argv):
        parser = argparse.ArgumentParser()
        for name, default in (("input", "input"), ("output", "output"), ("model", "models")):
            value = os.environ.get(f"HOLOSCAN_{name.upper()}_PATH", default)
            parser.add_argument(f"--{name}", type=Path, default=value)
        found = vars(parser.parse_args(argv[1:]))
        return SimpleNamespace(**{f"{name}_path": value for name, value in found.items()})

    def add_flow(self, first, second, ports):
        ((out, into),) = ports
        assert out in first.spec.outputs
        assert into in second.spec.inputs
        self.flows.append((first, out, second, into))

    def run(self):
        self.compose()
        told = {}
        for operator in dict.fromkeys(one for first, _, second, _ in self.flows for one in (first, second)):
            emitted = {}
            received = SimpleNamespace(receive=lambda port, one=operator: told[one, port])
            operator.compute(
                received, SimpleNamespace(emit=lambda value, port, to=emitted: to.update({port: value})), None
            )
            for first, out, second, into in self.flows:
                if first is operator:
                    told[second, into] = emitted[out]


def install():
    """Put the stand-ins in the SDK's place."""
    contents = {
        "monai.deploy": {},
        "monai.deploy.core": {"Application": Application, "Operator": Operator},
        "monai.deploy.conditions": {"CountCondition": lambda fragment, count: count},
    }
    for name, members in contents.items():
        sys.modules[name] = ModuleType(name)
        vars(sys.modules[name]).update(members)
