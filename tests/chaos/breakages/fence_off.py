"""Facts are published without the fence of the expected last sequence, and without their id."""

from components.chaos.inside.control import IS_GATEWAY
from contracts import headers


def install() -> None:
    """Publish every fact that is not marked as published, whatever is there."""
    if not IS_GATEWAY:
        return
    from components.gateway.engine.model import PendingFact
    from components.gateway.shell.facts import FactPublisher

    fenced = FactPublisher._headers
    fence = (
        headers.MSG_ID,
        headers.EXPECTED_LAST_SUBJECT_SEQUENCE,
        headers.EXPECTED_LAST_SUBJECT_SEQUENCE_SUBJECT,
    )

    def unfenced(self: FactPublisher, fact: PendingFact) -> dict[str, str]:
        return {k: v for k, v in fenced(self, fact).items() if k not in fence}

    async def never(self: FactPublisher, fact: PendingFact) -> bool:
        return False

    FactPublisher._headers = unfenced  # type: ignore[method-assign]
    FactPublisher._is_there = never  # type: ignore[method-assign]
