"""Takes a guild's rows into the pod's database while the pod goes on with everything else.

Rows are read on threads of their own; the thread that applies inputs gets them in batches, each
in a transaction. An import that fails or is cancelled is dropped whole, with whatever rows of the
guild were here before. Raises `RowsRefused` and `UnknownGuild` as `engine.transfer` does.
"""

import asyncio

from components.gateway.engine.transfer import GuildRows, RowSource
from components.gateway.shell.applier import Applier
from contracts.ids import GuildId


async def take_in(applier: Applier, source: RowSource, guild: GuildId) -> GuildRows:
    """Replace what the database has of the guild by the source's rows."""
    batches = source.batches(guild)
    begun = False
    try:
        while (batch := await asyncio.to_thread(next, batches, None)) is not None:
            begun = True
            await applier.on_database(batch.write, writes=True)
            rows = batch.rows_of
    except BaseException:
        if begun:
            applier.call(lambda engine: engine.drop(guild), lambda _: None)
        raise
    return rows
