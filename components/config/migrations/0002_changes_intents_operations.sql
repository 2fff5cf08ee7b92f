-- How a change of ownership went, what operators want, and what they asked for.

ALTER TABLE ownership_history
    ADD COLUMN from_pod text,
    ADD COLUMN from_incarnation text,
    ADD COLUMN reason text NOT NULL DEFAULT '',
    ADD COLUMN took_ms bigint,      -- from being told to being open; null until the owner said so
    ADD COLUMN replayed bigint,     -- inputs applied for it
    ADD COLUMN source text;         -- where the rows came from: log, disk, snapshot, replica

-- The truth of what operators want; bucket intent mirrors it, key by key. No value: taken back.
CREATE TABLE intents (
    key text PRIMARY KEY,
    value text,
    changed_by text NOT NULL,
    at timestamptz NOT NULL
);

CREATE TABLE operations (
    id text PRIMARY KEY,
    verb text NOT NULL,
    request text NOT NULL,
    asked_by text NOT NULL,
    at timestamptz NOT NULL
);
