"""All scenarios, by name."""

from typing import Final

from components.chaos.faults import cuts, ends, orders, servers, stops, storm
from components.chaos.scenario import STEADY, Scenario

WAITS_FOR_LEASE_S: Final = 12.0
"""Patience where an owner is judged by its lease alone (TTL 5 s), or rows come from a backup."""
WAITS_FOR_ELECTION_S: Final = 15.0
"""nats-server elects a stream's next leader 4 to 9 s after it lost one, each stream's by itself;
then a pod that was connected there renews (every second) and reads (asked again after 2 s)."""
WAITS_FOR_NATS_S: Final = 30.0
WAITS_FOR_STORM_S: Final = 60.0
"""Waits add up: no config for a while, then a lease to run out, then a restore."""

_ALL: Final = (
    Scenario(
        name="kill-gateway",
        words="a gateway is killed (kill -9); its parent attests that",
        inject=ends.kill_gateway,
    ),
    Scenario(
        name="kill-gateway-and-parent",
        words="a gateway and its parent are killed, away beyond the lease: nobody attests the end",
        inject=ends.kill_gateway_and_parent,
    ),
    Scenario(
        name="wipe-disk",
        words="a gateway is killed and its disk is gone",
        inject=ends.wipe_disk,
    ),
    Scenario(
        name="kill-pair",
        words="owner and follower are killed, disks gone",
        inject=ends.kill_pair,
        patience_s=WAITS_FOR_LEASE_S,
    ),
    Scenario(
        name="kill-twice",
        words="the owner is killed, then whoever owns the guild after it",
        inject=ends.kill_twice,
        patience_s=WAITS_FOR_LEASE_S,
    ),
    Scenario(
        name="stop-gateway",
        words="SIGSTOP longer than the lease, also between gate and socket, then SIGCONT",
        inject=stops.stop_gateway,
        patience_s=WAITS_FOR_LEASE_S,
    ),
    Scenario(
        name="stop-short",
        words="SIGSTOP shorter than the lease, then SIGCONT",
        inject=stops.stop_short,
        patience_s=WAITS_FOR_LEASE_S,
    ),
    Scenario(
        name="cut-gateway",
        words="a gateway's traffic to NATS is held or swallowed, sockets open",
        inject=cuts.cut_gateway,
        patience_s=WAITS_FOR_LEASE_S,
    ),
    Scenario(
        name="cut-discord",
        words="Discord's REST fails in turn before and after it took effect, sockets are cut",
        inject=cuts.cut_discord,
        must=STEADY,
    ),
    Scenario(
        name="slow-disk",
        words="every commit of a gateway takes 50 to 400 ms longer",
        inject=cuts.slow_disk,
        must=STEADY,
        patience_s=WAITS_FOR_LEASE_S,
    ),
    Scenario(
        name="kill-shard",
        words="a shard is killed",
        inject=ends.kill_shard,
        must=STEADY,
    ),
    Scenario(
        name="kill-edge",
        words="an edge is killed",
        inject=ends.kill_edge,
        must=STEADY,
    ),
    Scenario(
        name="kill-config",
        words="one replica of config is killed",
        inject=ends.kill_config,
        must=STEADY,
    ),
    Scenario(
        name="kill-both-configs",
        words="all of config is killed, and a gateway restarts meanwhile",
        inject=ends.kill_both_configs,
        patience_s=WAITS_FOR_NATS_S,
    ),
    Scenario(name="reshard", words="the number of shards changes", inject=orders.reshard),
    Scenario(
        name="stop-postgres",
        words="PostgreSQL is away, and a gateway is killed meanwhile",
        inject=servers.stop_postgres,
    ),
    Scenario(
        name="stop-s3",
        words="S3 is away, and a gateway is killed meanwhile",
        inject=servers.stop_s3,
    ),
    Scenario(
        name="kill-nats",
        words="NATS is killed, disks kept, restarted at once or later",
        inject=servers.kill_nats,
        patience_s=WAITS_FOR_NATS_S,
    ),
    Scenario(
        name="kill-nats-leader",
        words="of three NATS nodes the leader of INPUTS is killed",
        inject=servers.kill_nats_leader,
        patience_s=WAITS_FOR_ELECTION_S,
        options=("--nats", "3"),
    ),
    Scenario(
        name="rolling-restart",
        words="every component is restarted (SIGTERM), one after the other",
        inject=orders.rolling_restart,
    ),
    Scenario(
        name="clock-jump",
        words="wall clocks of gateways and others jump by seconds to a day, forward and back",
        inject=cuts.jump_clock,
        must=STEADY,
    ),
    Scenario(
        name="storm",
        words="three faults at once, of all that need a single NATS node",
        inject=storm.storm,
        must=STEADY,
        patience_s=WAITS_FOR_STORM_S,
    ),
)
SCENARIOS: Final = {scenario.name: scenario for scenario in _ALL}
