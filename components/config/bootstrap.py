"""Wires config together and runs one replica until it is told to stop."""

import asyncio
import logging

from nats.errors import Error as NatsError
from nats.micro.service import Service

from components.bus.connection import Bus, connect
from components.bus.settings import BusSettings
from components.config.answers import Answers
from components.config.balancing import Balancer
from components.config.commands import Commands
from components.config.database import Database
from components.config.dividing import Divider
from components.config.hearing import HeardProgress, hear
from components.config.leadership import Leadership
from components.config.measures import measure
from components.config.mirror import Mirror
from components.config.operations import Operations
from components.config.operators import serve
from components.config.placing import Placer
from components.config.resharding import Resharding
from components.config.settings import ConfigSettings, check
from components.config.tidying import Tidier
from components.config.view import View
from components.config.watchfulness import Watch
from components.config.watching import follow
from components.process.clock import steady_s
from components.process.service import service
from components.process.settings import load
from components.process.stopping import unless_stopped

log = logging.getLogger(__name__)

LAST_ANSWERS_S = 2.0


async def main(stop: asyncio.Event) -> None:
    """Run from the environment's settings until ``stop`` is set."""
    async with service("config") as replica:
        settings = check(load(ConfigSettings, "CONFIG"))
        await run(load(BusSettings, "NATS"), settings, replica, stop)


async def run(
    bus_settings: BusSettings, settings: ConfigSettings, replica: str, stop: asyncio.Event
) -> None:
    """Run one replica. When it stops in order it gives its leadership back at once."""
    bus = await unless_stopped(stop, connect(bus_settings, user="config", name=replica))
    try:
        view = View(steady_s, pod_ttl_s=settings.pod_ttl_s)
        database = Database(settings.database_url)
        leadership = Leadership(
            bus,
            replica,
            ttl_s=settings.leader_ttl_s,
            all_assigned=lambda: view.complete and database.all_among(view.assignments),
        )
        placer = Placer(bus, view, database, leadership, settings, replica)
        balancer = Balancer(view, placer, settings)
        operations = Operations(bus, view, placer, balancer)
        divider = Divider(bus, leadership, settings)
        mirror = Mirror(bus, database)
        resharding = Resharding(bus, view, shard_ttl_s=settings.shard_ttl_s)
        tidier = Tidier(bus, view)
        watch = Watch(bus, view, leadership, settings)
        heard = HeardProgress()
        answers = Answers(
            view,
            placer,
            balancer,
            operations,
            resharding,
            heard,
            database,
            leadership,
            watch,
            replica,
        )

        measure(bus, view, placer, database, leadership, watch)

        def changed() -> None:
            placer.news()
            balancer.news()
            operations.news()
            watch.news()

        view.listen(
            on_change=changed,
            on_registered=database.registered,
            on_pod=database.pod_changed,
            on_opened=database.opened,
        )
        database.on_read = placer.history_read

        async def lead() -> None:
            async with asyncio.TaskGroup() as leading:
                leading.create_task(placer.lead(), name="placing")
                leading.create_task(balancer.lead(), name="balancing")
                leading.create_task(operations.lead(), name="operations")
                leading.create_task(divider.lead(), name="dividing")
                leading.create_task(mirror.lead(), name="mirror")
                leading.create_task(resharding.lead(), name="resharding")
                leading.create_task(tidier.lead(), name="tidier")

        await hear(bus, placer.disconnected, leadership.disconnected)
        await heard.listen(bus)
        commands = Commands(bus, view, answers, database, resharding)
        answering = await serve(bus, answers, commands, replica)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(follow(bus, view, settings.pod_ttl_s), name="view"),
                group.create_task(database.run(), name="database"),
                group.create_task(leadership.run(lead), name="leadership"),
                group.create_task(watch.run(), name="watchfulness"),
            ]
            log.info("%s is ready", replica)
            await stop.wait()
            for task in tasks:
                task.cancel()
        await _stop_answering(bus, answering)
    finally:
        await bus.close()


async def _stop_answering(bus: Bus, service: Service) -> None:
    """Answer what was asked already, as long as that is possible: the client waits 10 s for a
    word from the server at each endpoint, also when the connection is lost in between."""
    if not bus.connected:
        return
    try:
        async with asyncio.timeout(LAST_ANSWERS_S):
            await service.stop()
    except (TimeoutError, NatsError) as error:
        log.info("some questions stay unanswered: %s", error or "NATS does not answer")
