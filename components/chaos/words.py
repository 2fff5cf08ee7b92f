"""What went wrong, in words for whoever runs a scenario."""

from components.chaos.arena import NotInTime, NotThere
from components.traffic.guilds import GuildsNotServed


def in_words(error: BaseException) -> str:
    """What went wrong, without the groups around it."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(dict.fromkeys(in_words(one) for one in error.exceptions))
    if isinstance(error, NotThere):
        return f"needs {error}"
    if isinstance(error, NotInTime | GuildsNotServed):
        return str(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
