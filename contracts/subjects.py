"""Subjects on the bus: one place that builds them, one that takes them apart.

A guild id is a decimal snowflake and therefore always exactly one token.
"""

from typing import Final

from contracts.ids import GuildId, InteractionId, PodId, is_snowflake

INPUTS_WILDCARD: Final = "modbot.in.*"
LIVE_WILDCARD: Final = "modbot.live.*"
EVENTS_WILDCARD: Final = "modbot.events.*.>"
CONFIG_SERVICE: Final = "modbot.config"
PODS_WILDCARD: Final = "modbot.pods.*.ping"
POD_SNAPSHOTS_WILDCARD: Final = "modbot.pods.*.snapshot.*"
POD_RELEASED_WILDCARD: Final = "modbot.pods.*.released"
SHARD_BUDGET: Final = "modbot.shards.budget"
"""Asks any shard replica what Discord grants: answered with `operations.SessionBudget`."""
DISCONNECTS: Final = "sys.disconnect"
"""Where the server's advisories of lost connections are imported to (config only)."""


class InvalidSubject(ValueError):
    """A subject that is not of the shape asked for. Raised for input from outside; drop it."""

    def __init__(self, subject: str) -> None:
        super().__init__(f"not a modbot subject of the expected shape: {subject!r}")
        self.subject = subject


def inputs(guild: GuildId) -> str:
    """The guild's log."""
    return f"modbot.in.{guild}"


def live(guild: GuildId) -> str:
    """The guild's log as it is republished, for core subscribers."""
    return f"modbot.live.{guild}"


def request(guild: GuildId, verb: str) -> str:
    """A request to whoever owns the guild."""
    return f"modbot.rpc.{guild}.{verb}"


def requests(guild: GuildId) -> str:
    """All requests to one guild's owner."""
    return f"modbot.rpc.{guild}.>"


def event(guild: GuildId, event_type: str) -> str:
    """One kind of fact of a guild; ``event_type`` may hold dots."""
    return f"modbot.events.{guild}.{event_type}"


def events(guild: GuildId) -> str:
    """All facts of one guild; the subject over which publishing is fenced."""
    return f"modbot.events.{guild}.>"


def answer(component: str, replica: str, interaction: InteractionId) -> str:
    """Where the first responder of an interaction waits for the owner's answer."""
    return f"modbot.answers.{component}.{replica}.{interaction}"


def answers(component: str, replica: str) -> str:
    """All answers to one first responder."""
    return f"modbot.answers.{component}.{replica}.*"


def ping(pod: PodId) -> str:
    """Asks one pod whether it is there: `records.PodPing`, answered with the same."""
    return f"modbot.pods.{pod}.ping"


def pod_released(pod: PodId) -> str:
    """Tells one pod that an epoch of a guild is released to it: `records.Released`."""
    return f"modbot.pods.{pod}.released"


def pod_snapshot(pod: PodId, guild: GuildId) -> str:
    """Asks one pod, whatever it is to the guild, for the rows it has: `requests.TakeSnapshot`."""
    return f"modbot.pods.{pod}.snapshot.{guild}"


def pod_snapshots(pod: PodId) -> str:
    """All such requests to one pod."""
    return f"modbot.pods.{pod}.snapshot.*"


def config_endpoint(name: str) -> str:
    """An endpoint of config's operator service."""
    return f"{CONFIG_SERVICE}.{name}"


def progress(operation: str) -> str:
    """Where config tells how far an operation has come."""
    return f"modbot.progress.{operation}"


def guild_of_input(subject: str) -> GuildId:
    """The guild of ``modbot.in.<guild>`` or ``modbot.live.<guild>``; else `InvalidSubject`."""
    tokens = subject.split(".")
    if len(tokens) != 3 or tokens[0] != "modbot" or tokens[1] not in ("in", "live"):
        raise InvalidSubject(subject)
    return _guild(tokens[2], subject)


def guild_and_verb(subject: str) -> tuple[GuildId, str]:
    """Guild and verb of ``modbot.rpc.<guild>.<verb>``; else `InvalidSubject`."""
    tokens = subject.split(".", 3)
    if len(tokens) != 4 or tokens[:2] != ["modbot", "rpc"] or not tokens[3]:
        raise InvalidSubject(subject)
    return _guild(tokens[2], subject), tokens[3]


def guild_and_event(subject: str) -> tuple[GuildId, str]:
    """Guild and type of ``modbot.events.<guild>.<type>``; else `InvalidSubject`."""
    tokens = subject.split(".", 3)
    if len(tokens) != 4 or tokens[:2] != ["modbot", "events"] or not tokens[3]:
        raise InvalidSubject(subject)
    return _guild(tokens[2], subject), tokens[3]


def _guild(token: str, subject: str) -> GuildId:
    if not is_snowflake(token):
        raise InvalidSubject(subject)
    return GuildId(token)
