"""What the checks and the report read out of facts and of the simulator's record. Pure."""

from collections.abc import Iterable

from components.simulator.record import Entry
from components.traffic.evidence import PublishedFact
from contracts.facts import MessageFlagged
from contracts.message import decode


def flagged(facts: Iterable[PublishedFact]) -> list[tuple[PublishedFact, MessageFlagged]]:
    """The spam verdicts among the facts."""
    return [
        (fact, decode(fact.data, MessageFlagged))
        for fact in facts
        if fact.type == MessageFlagged.type
    ]


def succeeded(entry: Entry) -> bool:
    """Whether a REST call changed something: answered 2xx, or cut off after it took effect."""
    status = entry.data.get("status")
    return bool(entry.data.get("took_effect")) or (status is not None and 200 <= status < 300)


def rest_calls(record: Iterable[Entry], method: str, path_part: str) -> list[Entry]:
    """REST calls of one method whose path holds the part."""
    return [
        entry
        for entry in record
        if entry.kind == "rest"
        and entry.data["method"] == method
        and path_part in entry.data["path"]
    ]
