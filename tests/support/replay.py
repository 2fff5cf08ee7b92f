"""The oracle of the tests: `components.chaos.oracle`."""

from components.chaos.oracle import Replayed, dump_of_pod, replay

__all__ = ["Replayed", "dump_of_pod", "replay"]
