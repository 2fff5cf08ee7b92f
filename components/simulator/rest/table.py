"""Every route there is. Order matters where a fixed word and a parameter meet (`@me`, `search`)."""

from components.simulator.rest import (
    applications,
    channels,
    guilds,
    interactions,
    messages,
    threads,
)
from components.simulator.rest.call import Route

ROUTES: list[Route] = [
    *applications.ROUTES,
    *guilds.ROUTES,
    *channels.ROUTES,
    *messages.ROUTES,
    *threads.ROUTES,
    *interactions.ROUTES,
]
