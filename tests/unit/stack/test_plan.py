"""The plan of processes: what is started, after what, with what environment."""

import importlib.util

import msgspec
import pytest

from components.cli.run import SERVICES
from components.process.settings import variable_of
from components.stack import plan
from components.stack.settings import StackSettings
from contracts import accounts
from tests.support.stack import HOME, REAL_DISCORD, installation, node

SETTINGS = StackSettings()


def names(found: list[plan.Process]) -> list[str]:
    return [process.name for process in found]


def test_the_default_plan_holds_every_server_and_component() -> None:
    assert names(plan.processes(SETTINGS, installation())) == [
        "nats",
        "postgres",
        "s3",
        "streams",
        "simulator",
        "config-0",
        "config-1",
        "gateway-0",
        "gateway-1",
        "shard-0",
        "edge-0",
    ]


def test_planning_twice_gives_the_same_plan() -> None:
    assert plan.processes(SETTINGS, installation()) == plan.processes(SETTINGS, installation())


def test_every_process_comes_after_what_it_needs() -> None:
    seen: set[str] = set()
    for process in plan.processes(SETTINGS, installation()):
        assert set(process.needs) <= seen, process.name
        seen.add(process.name)


@pytest.mark.parametrize(
    ("changed", "missing"),
    [
        ({"nats": []}, "nats"),
        ({"postgres": None}, "postgres"),
        ({"s3": None}, "s3"),
        ({"discord": REAL_DISCORD}, "simulator"),
    ],
)
def test_what_runs_elsewhere_is_neither_started_nor_waited_for(
    changed: dict[str, object], missing: str
) -> None:
    found = plan.processes(SETTINGS, installation(**changed))
    assert missing not in names(found)
    assert all(missing not in process.needs for process in found)


def test_a_cluster_has_three_servers_and_keeps_every_stream_three_times() -> None:
    made = installation(nats=[node(0), node(1), node(2)])
    found = {process.name: process for process in plan.processes(SETTINGS, made)}
    nodes = ["nats-0", "nats-1", "nats-2"]
    assert [name for name in found if name.startswith("nats")] == nodes
    assert found["nats-1"].probe == plan.HttpProbe(port=8223, path="/healthz")
    assert found["streams"].needs == nodes
    assert found["streams"].environment["MODBOT_NATS_REPLICAS"] == "3"


def test_leases_in_a_cluster_outlast_the_election_of_a_new_leader() -> None:
    for nodes, wanted in (([], None), ([node(0), node(1), node(2)], "12")):
        found = plan.processes(SETTINGS, installation(nats=nodes))
        by_name = {process.name: process.environment for process in found}
        for name, variable in (
            ("config-0", "MODBOT_CONFIG_POD_TTL_S"),
            ("config-0", "MODBOT_CONFIG_SHARD_TTL_S"),
            ("config-0", "MODBOT_CONFIG_LEADER_TTL_S"),
            ("gateway-0", "MODBOT_GATEWAY_LEASE_TTL_S"),
            ("gateway-0", "MODBOT_GATEWAY_LEADER_TTL_S"),
            ("shard-0", "MODBOT_SHARD_LEASE_TTL_S"),
        ):
            assert by_name[name].get(variable) == wanted, variable


def test_copies_on_servers_that_run_elsewhere_are_left_as_they_are() -> None:
    found = plan.processes(SETTINGS, installation(nats=[]))
    assert all("MODBOT_NATS_REPLICAS" not in process.environment for process in found)


def test_counts_are_those_of_the_settings() -> None:
    settings = StackSettings(gateways=3, shards=2, configs=1, edges=2)
    found = names(plan.processes(settings, installation()))
    assert [name for name in found if name.startswith("gateway")] == [
        "gateway-0",
        "gateway-1",
        "gateway-2",
    ]
    assert {"shard-0", "shard-1", "config-0", "edge-0", "edge-1"} <= set(found)
    assert "config-1" not in found


def test_every_component_is_started_by_modbot_run() -> None:
    found = plan.processes(SETTINGS, installation())
    started = {process.command[-1] for process in found if process.command[-2] == "run"}
    assert started == set(SERVICES)


def test_each_component_connects_as_its_own_bus_user() -> None:
    for process in plan.processes(SETTINGS, installation()):
        if seed := process.environment.get("MODBOT_NATS_SEED_FILE"):
            user = seed.rpartition("/")[2].removesuffix(".nk")
            assert user in accounts.USER_OF_NAME
            assert user == ("provisioner" if process.name == "streams" else process.command[-1])


def test_no_secret_is_in_the_plan_but_the_local_s3_key() -> None:
    """S3's server takes its key only in the environment."""
    made = installation(discord=REAL_DISCORD)
    text = msgspec.json.encode(plan.processes(SETTINGS, made)).decode()
    for secret in ("real-token", "SUSECRETSEED", "secret-password"):
        assert secret not in text


def test_variables_are_fields_of_the_components_settings() -> None:
    """A renamed setting would otherwise be ignored in silence."""
    from components.bus.provisioning import ProvisioningSettings
    from components.bus.settings import BusSettings
    from components.config.settings import ConfigSettings
    from components.discord_api import DiscordSettings
    from components.edge.settings import EdgeSettings
    from components.gateway.parent import ParentSettings
    from components.gateway.settings import BackupSettings, GatewaySettings
    from components.process.service import ServiceSettings
    from components.shard.settings import ShardSettings

    known = {
        variable_of(prefix, field)
        for prefix, settings in (
            ("", ServiceSettings),
            ("NATS", BusSettings),
            ("NATS", ProvisioningSettings),
            ("CONFIG", ConfigSettings),
            ("DISCORD", DiscordSettings),
            ("EDGE", EdgeSettings),
            ("GATEWAY", GatewaySettings),
            ("PARENT", ParentSettings),
            ("BACKUP", BackupSettings),
            ("SHARD", ShardSettings),
        )
        for field in settings.__struct_fields__
    }
    made = installation(nats=[node(0), node(1), node(2)])
    for process in plan.processes(StackSettings(traces=True), made):
        for variable in process.environment:
            if variable.startswith("MODBOT_") and not variable.startswith(
                ("MODBOT_SIM_", "MODBOT_NKEY_")
            ):
                assert variable.removesuffix("_FILE") in known, (process.name, variable)


def test_each_replica_serves_its_metrics_where_its_link_says() -> None:
    found = {process.name: process for process in plan.processes(SETTINGS, installation())}
    replicas = [name for name in found if found[name].label == "modbot"]
    assert len(replicas) == 6
    addresses = set()
    for name in replicas:
        address = found[name].environment["MODBOT_METRICS_ADDR"]
        addresses.add(address)
        assert f"http://{address}/metrics" in [link.url for link in found[name].links]
    assert len(addresses) == len(replicas)


def test_each_pods_backup_has_a_log_of_its_own_beside_the_others() -> None:
    found = plan.processes(SETTINGS, installation())
    logs = [process.environment.get("MODBOT_BACKUP_LOG") for process in found]
    assert [log for log in logs if log is not None] == [
        str(HOME / "logs" / f"litestream-gateway-{number}.log") for number in range(2)
    ]


def test_every_bootstrap_that_the_plan_starts_exists() -> None:
    for component in SERVICES:
        assert importlib.util.find_spec(f"components.{component}.bootstrap") is not None
