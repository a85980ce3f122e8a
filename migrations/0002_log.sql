-- The log. Only log.append (0003) writes these tables, but for `consumers` and `leases`.

-- How far each partition is. Its row's lock, held until commit, puts the appends of a partition in order: positions are
-- dense and in commit order. Updated by every group of appends, hence the free space.
CREATE TABLE log.clock (
    partition integer PRIMARY KEY CHECK (partition >= 0),
    position bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 10);

-- How far each stream is: the guard of the expected version.
CREATE TABLE log.streams (
    tenant uuid NOT NULL,
    stream uuid NOT NULL,
    type text NOT NULL,
    version bigint NOT NULL,
    chain bytea NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (tenant, stream)
) WITH (fillfactor = 80);

-- payload and meta are json, not jsonb: the bytes stay as they were written, and as they were digested.
CREATE TABLE log.events (
    partition integer NOT NULL,
    position bigint NOT NULL,
    tenant uuid NOT NULL,
    id uuid NOT NULL UNIQUE,
    aggregate_type text NOT NULL,
    stream uuid NOT NULL,
    version bigint NOT NULL,
    event_type text NOT NULL,
    event_version integer NOT NULL,
    actor text NOT NULL,
    command uuid NOT NULL,
    correlation uuid NOT NULL,
    causation uuid,
    traceparent text,
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    payload json NOT NULL,
    meta json NOT NULL,
    digest bytea NOT NULL,
    chain bytea NOT NULL,
    PRIMARY KEY (partition, position),
    UNIQUE (tenant, stream, version)
);
-- One tenant's events in their order.
CREATE INDEX events_of_tenant ON log.events (tenant, position);

-- What each command led to: the guard against repeating it.
CREATE TABLE log.commands (
    tenant uuid NOT NULL,
    command uuid NOT NULL,
    fingerprint bytea NOT NULL,
    aggregate_type text NOT NULL,
    stream uuid NOT NULL,
    version bigint NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (tenant, command)
);

-- How far each consumer is. Written in the transaction of what it does with the events.
CREATE TABLE log.consumers (
    name text NOT NULL,
    partition integer NOT NULL,
    position bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (name, partition)
) WITH (fillfactor = 50);

-- Who does what only one should do, such as relaying a partition. Two doing it is harmless.
CREATE TABLE log.leases (
    name text PRIMARY KEY,
    holder uuid NOT NULL,
    expires timestamptz NOT NULL
);

SELECT log.protect('log.events');
SELECT log.protect('log.commands');
SELECT log.protect('log.streams');
GRANT SELECT ON log.clock, log.consumers TO agentworks_app, agentworks_worker;
GRANT SELECT ON log.events TO agentworks_worker;
GRANT INSERT, UPDATE ON log.consumers TO agentworks_worker;
GRANT SELECT, INSERT, UPDATE ON log.leases TO agentworks_worker;

-- What happened, happened: not even the owner changes or deletes it by a slip.
CREATE FUNCTION log.refuse_change() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    RAISE EXCEPTION 'events are never changed or deleted' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER unchangeable BEFORE UPDATE OR DELETE OR TRUNCATE ON log.events
    FOR EACH STATEMENT EXECUTE FUNCTION log.refuse_change();
-- Fires for replication sessions too.
ALTER TABLE log.events ENABLE ALWAYS TRIGGER unchangeable;
