"""The language of the bus: everything one component may say to another.

Components share nothing but this package (and small runtime packages). A message here is JSON,
readable with ``nats sub``; fields are added, never changed or removed within a version, and a
reader ignores the fields it does not know. ``contracts.catalog`` lists every message;
``contracts.generate`` writes the JSON Schemas, the AsyncAPI document and ``infra/nats``.
"""
