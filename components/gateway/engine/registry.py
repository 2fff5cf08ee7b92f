"""Finds the policies: every module in `policies` with a constant ``POLICY``, by its order."""

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

from components.gateway.engine import policies
from components.gateway.engine.policy import Context, Policy


class PolicyRegistry:
    """Handlers by what they react to, in the order of their policies."""

    def __init__(self, found: list[Policy]) -> None:
        self.policies = sorted(found, key=lambda policy: (policy.order, policy.name))
        self.by_name = {policy.name: policy for policy in self.policies}
        if len(self.by_name) != len(found):
            raise ValueError("two policies have the same name")
        self.dispatches: dict[str, list[Callable[[Context, Any], None]]] = {}
        self.inputs: dict[type, list[Callable[[Context, Any], None]]] = {}
        self.commands = {
            verb: handler for policy in self.policies for verb, handler in policy.commands.items()
        }
        self.timers = {
            timer: handler for policy in self.policies for timer, handler in policy.timers.items()
        }
        for policy in self.policies:
            for event, handler in policy.dispatches.items():
                self.dispatches.setdefault(event, []).append(handler)
            for kind, handle in policy.inputs.items():
                self.inputs.setdefault(kind, []).append(handle)


def find_policies() -> PolicyRegistry:
    """All policies of the folder."""
    modules = sorted(module.name for module in pkgutil.iter_modules(policies.__path__))
    return PolicyRegistry(
        [importlib.import_module(f"{policies.__name__}.{name}").POLICY for name in modules]
    )
