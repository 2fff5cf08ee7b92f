"""The Tiltfile, evaluated with Tilt's built-ins recorded, gives the plan's processes."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import starlark

from components.cli.processes import described
from components.stack import plan
from components.stack.settings import StackSettings
from tests.support.stack import installation

ROOT = Path(__file__).parents[3]


class Tilt:
    """Tilt's built-ins as they are documented; every resource and command is recorded."""

    def __init__(self, found: list[plan.Process], options: dict[str, str]) -> None:
        self.resources: dict[str, dict[str, Any]] = {}
        self.commands: list[list[str]] = []
        self._plan = msgspec.json.encode(described(found, installation())).decode()
        self._options = options

    def evaluate(self) -> None:
        globals_ = starlark.Globals.extended_by([starlark.LibraryExtension.StructType])
        loader = starlark.FileLoader(lambda path: self._module(ROOT / path, globals_).freeze())
        module = self._with_builtins()
        ast = starlark.parse("Tiltfile", self._prelude() + (ROOT / "Tiltfile").read_text())
        starlark.eval(module, ast, globals_, loader)

    def _module(self, path: Path, globals_: starlark.Globals) -> starlark.Module:
        module = self._with_builtins()
        starlark.eval(module, starlark.parse(str(path), path.read_text()), globals_)
        return module

    @staticmethod
    def _prelude() -> str:
        return (
            "config = struct("
            "define_string = _define_string, parse = _parse, main_dir = '/repository')\n"
        )

    def _with_builtins(self) -> starlark.Module:
        module = starlark.Module()
        module.add_callable("_define_string", lambda name, usage="": None)
        module.add_callable("_parse", lambda: self._options)
        module.add_callable("local", self._local)
        module.add_callable("decode_json", json.loads)
        module.add_callable("local_resource", self._local_resource)
        module.add_callable("link", lambda url, name: {"url": url, "name": name})
        module.add_callable("probe", self._probe)
        module.add_callable("exec_action", lambda command: {"exec": command})
        module.add_callable("tcp_socket_action", lambda port: {"tcp": port})
        module.add_callable("http_get_action", lambda port, path: {"http": [port, path]})
        return module

    def _local(self, command: list[str], dir: str, quiet: bool, echo_off: bool) -> str:  # noqa: A002
        assert dir == "/repository"
        self.commands.append(command)
        return self._plan

    def _local_resource(
        self,
        name: str,
        cmd: list[str] | None = None,
        env: dict[str, str] | None = None,
        serve_cmd: list[str] | None = None,
        serve_env: dict[str, str] | None = None,
        labels: list[str] | None = None,
        resource_deps: list[str] | None = None,
        links: list[dict[str, str]] | None = None,
        readiness_probe: dict[str, Any] | None = None,
    ) -> None:
        self.resources[name] = {
            "cmd": cmd,
            "env": env,
            "serve_cmd": serve_cmd,
            "serve_env": serve_env,
            "labels": labels,
            "resource_deps": resource_deps,
            "links": links,
            "probe": readiness_probe,
        }

    @staticmethod
    def _probe(period_secs: int, timeout_secs: int = 1, **action: Any) -> dict[str, Any]:
        (what,) = action.values()
        return dict(what)


@pytest.fixture
def found() -> list[plan.Process]:
    return plan.processes(StackSettings(edges=2), installation())


@pytest.fixture
def tilt(found: list[plan.Process]) -> Tilt:
    tilt = Tilt(found, {})
    tilt.evaluate()
    return tilt


def test_every_process_is_a_resource_in_the_plans_order(
    tilt: Tilt, found: list[plan.Process]
) -> None:
    assert list(tilt.resources) == [process.name for process in found]


def test_commands_environments_labels_and_order_are_the_plans(
    tilt: Tilt, found: list[plan.Process]
) -> None:
    for process in found:
        resource = tilt.resources[process.name]
        step = isinstance(process.probe, plan.DoneProbe)
        assert resource["cmd" if step else "serve_cmd"] == process.command
        assert resource["env" if step else "serve_env"] == process.environment
        assert resource["serve_cmd" if step else "cmd"] is None
        assert resource["labels"] == [process.label]
        assert resource["resource_deps"] == process.needs
        assert resource["links"] == msgspec.to_builtins(process.links)


def test_readiness_is_probed_as_the_plan_says(tilt: Tilt, found: list[plan.Process]) -> None:
    for process in found:
        probe = tilt.resources[process.name]["probe"]
        match process.probe:
            case plan.TcpProbe(port=port):
                assert probe == {"tcp": port}
            case plan.HttpProbe(port=port, path=path):
                assert probe == {"http": [port, path]}
            case plan.BusProbe(component=component, replica=replica):
                assert probe["exec"][-3].endswith("nats/keys/operator.nk")
                assert probe["exec"][-2:] == [component, replica]
            case plan.DoneProbe():
                assert probe is None


def test_the_plan_is_asked_of_modbot_for_the_home_that_was_chosen(
    found: list[plan.Process],
) -> None:
    tilt = Tilt(found, {"home": "/elsewhere"})
    tilt.evaluate()
    assert tilt.commands == [[".venv/bin/modbot", "processes", "--json", "--home", "/elsewhere"]]
