"""Header names on the bus: NATS's own, the W3C's, CloudEvents', and ours."""

from typing import Final

# NATS (docs: nats.io, "JetStream headers")
MSG_ID: Final = "Nats-Msg-Id"
EXPECTED_LAST_SUBJECT_SEQUENCE: Final = "Nats-Expected-Last-Subject-Sequence"
EXPECTED_LAST_SUBJECT_SEQUENCE_SUBJECT: Final = "Nats-Expected-Last-Subject-Sequence-Subject"
BATCH_ID: Final = "Nats-Batch-Id"
BATCH_SEQUENCE: Final = "Nats-Batch-Sequence"
BATCH_COMMIT: Final = "Nats-Batch-Commit"
SEQUENCE: Final = "Nats-Sequence"
LAST_SEQUENCE: Final = "Nats-Last-Sequence"
TIME_STAMP: Final = "Nats-Time-Stamp"
SUBJECT: Final = "Nats-Subject"
TTL: Final = "Nats-TTL"
SERVICE_ERROR: Final = "Nats-Service-Error"
SERVICE_ERROR_CODE: Final = "Nats-Service-Error-Code"

# W3C trace context
TRACEPARENT: Final = "traceparent"

# CloudEvents 1.0, NATS protocol binding, binary mode
CE_ID: Final = "ce-id"
CE_SOURCE: Final = "ce-source"
CE_SPECVERSION: Final = "ce-specversion"
CE_SUBJECT: Final = "ce-subject"
CE_TIME: Final = "ce-time"
CE_TYPE: Final = "ce-type"
CE_DATACONTENTTYPE: Final = "ce-datacontenttype"

# modbot
EPOCH: Final = "Modbot-Epoch"
"""On replies and facts: the epoch of the owner that speaks."""
APPLIED: Final = "Modbot-Applied"
"""On replies: the guild's last applied input sequence."""
MIN_APPLIED: Final = "Modbot-Min-Applied"
"""On requests: the owner applies up to this sequence before it answers."""
REQUEST_ID: Final = "Modbot-Request-Id"
"""On requests that write: the id under which the write is stored once."""
DEADLINE_MS: Final = "Modbot-Deadline-Ms"
"""On requests: how long the caller will wait, in milliseconds."""
INPUT_SEQUENCE: Final = "Modbot-Input-Sequence"
"""On facts: the input that the fact derives from."""
INPUT_INDEX: Final = "Modbot-Input-Index"
"""On facts: the fact's place among the facts of that input, from 0."""
