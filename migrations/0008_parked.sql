-- Consumers: tenants that are parked, and events that were skipped. Owner: outbox/src/consumer.
--
-- An event that a consumer cannot apply parks its tenant for that consumer: all that comes before it is applied, it and
-- what follows of the tenant is left out, and everybody else goes on. `agentworks parked retry` takes it up again.

-- How many tenants are parked. It stands in the row that every page locks, so a page knows at no cost, and for certain,
-- whether it has to leave some out.
ALTER TABLE log.consumers ADD COLUMN parked integer NOT NULL DEFAULT 0 CHECK (parked >= 0);

CREATE TABLE log.parked (
    consumer text NOT NULL,
    tenant uuid NOT NULL,
    partition integer NOT NULL,
    -- The tenant's events before this are applied.
    position bigint NOT NULL,
    -- The event that could not be, and why.
    event uuid NOT NULL,
    error text NOT NULL,
    since timestamptz NOT NULL DEFAULT now(),
    -- How often it was tried.
    tries integer NOT NULL,
    PRIMARY KEY (consumer, tenant)
);

-- Events that an operator has decided a consumer shall do without. A consumer that comes by one again (when it is rebuilt)
-- passes it over.
CREATE TABLE log.skipped (
    consumer text NOT NULL,
    event uuid NOT NULL,
    tenant uuid NOT NULL,
    partition integer NOT NULL,
    position bigint NOT NULL,
    error text NOT NULL,
    reason text NOT NULL CHECK (reason <> ''),
    skipped_by text NOT NULL CHECK (skipped_by <> ''),
    skipped_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, event)
);

SELECT log.protect(protected::regclass) FROM unnest(ARRAY['log.parked', 'log.skipped']) AS protected;
GRANT SELECT, INSERT, UPDATE, DELETE ON log.parked TO agentworks_worker;
-- A record of what people did: it only grows.
GRANT SELECT, INSERT ON log.skipped TO agentworks_worker;
