"""What a pod may do for which guild, as synchronous state machines: no I/O, no asyncio, no clock.

`PodMachine` takes what the pod sees, with the time, and answers with commands, which the shell
(or the simulation) carries out and reports back. The rules are docs/decisions/0006-ownership.md.
"""
