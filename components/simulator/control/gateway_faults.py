"""Faults of the gateway, done to connections that are open now."""

from aiohttp import WSCloseCode

from components.simulator.control.requests import GatewayFault
from components.simulator.gateway.connection import Closed, Connection
from components.simulator.gateway.protocol import Op
from components.simulator.gateway.server import Gateway


def inject(gateway: Gateway, fault: GatewayFault) -> int:
    """Do it to every connection in scope; returns to how many."""
    hit = [c for c in gateway.connections.values() if _in_scope(c, fault)]
    for connection in hit:
        session = None if connection.session is None else connection.session.id
        data = {"gateway": fault.kind, "connection": connection.id, "session": session}
        gateway.world.record.add("fault", data)
        _do(gateway, connection, fault)
    return len(hit)


def _in_scope(connection: Connection, fault: GatewayFault) -> bool:
    session = connection.session
    if fault.session is None and fault.shard is None and fault.application_id is None:
        return True
    return (
        session is not None
        and fault.session in (None, session.id)
        and fault.shard in (None, session.shard)
        and fault.application_id in (None, session.application.id)
    )


def _do(gateway: Gateway, connection: Connection, fault: GatewayFault) -> None:
    match fault.kind:
        case "reconnect":
            connection.send(Op.RECONNECT)
        case "invalid_session":
            connection.send(Op.INVALID_SESSION, fault.resumable)
            if not fault.resumable and connection.session is not None:
                gateway.forget(connection.session)
        case "drop":
            connection.end(Closed(WSCloseCode.ABNORMAL_CLOSURE, "dropped"))
        case "close":
            connection.end(Closed(fault.code, "injected"))
        case "request_heartbeat":
            connection.send(Op.HEARTBEAT)
        case "withhold_acks":
            connection.withhold_acks = True
        case "latency":
            connection.latency_s = fault.latency_ms / 1000
        case "restore":
            connection.withhold_acks, connection.latency_s = False, 0.0
