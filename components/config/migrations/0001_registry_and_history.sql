-- What people ask PostgreSQL: which guilds and pods there are, and who owned what when.
-- Live ownership is in NATS (bucket guilds); this follows it and never leads.

CREATE TABLE guilds (
    guild bigint PRIMARY KEY,
    name text NOT NULL,
    shard bigint NOT NULL,
    present boolean NOT NULL,
    seen_at timestamptz NOT NULL
);

CREATE TABLE pods (
    pod text PRIMARY KEY,
    incarnation text,
    data text NOT NULL,
    replica text NOT NULL,
    capacity bigint NOT NULL,
    version text NOT NULL,
    engine_version bigint NOT NULL,
    started_at timestamptz NOT NULL
);

-- One row a change of ownership. An epoch names one pod, for ever.
CREATE TABLE ownership_history (
    guild bigint NOT NULL,
    epoch bigint NOT NULL CHECK (epoch > 0),
    pod text NOT NULL,
    incarnation text NOT NULL,
    cause text NOT NULL,
    changed_by text NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (guild, epoch)
);

CREATE INDEX ownership_history_by_pod ON ownership_history (pod, at);
