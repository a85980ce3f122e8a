-- Jobs: runs that wait for a worker or are held by one. Owner: workers/src/jobs. Derived from the log by the consumer
-- `run-card`, so it can be thrown away; a lease says only who works at present, the run's aggregate says who may.
-- Times are the database's own: leases must mean the same to every worker.

CREATE TABLE work.jobs (
    tenant      uuid        NOT NULL,
    run         uuid        NOT NULL PRIMARY KEY,
    project     uuid        NOT NULL,
    -- The attempt that waits or is under way, from 1. With the environment it is the fencing token.
    attempt     integer     NOT NULL CHECK (attempt >= 1),
    queued_at   timestamptz NOT NULL DEFAULT now(),
    -- The lease; all of it or nothing.
    environment uuid,
    holder      uuid,
    lease_until timestamptz,
    -- When the pod last gave a sign of life.
    pod_seen_at timestamptz,
    -- What the run follows from.
    correlation uuid        NOT NULL,
    causation   uuid        NOT NULL,
    traceparent text,
    CHECK ((environment IS NULL) = (holder IS NULL) AND (holder IS NULL) = (lease_until IS NULL))
);

-- Claiming: the oldest first.
CREATE INDEX jobs_waiting ON work.jobs (queued_at) WHERE holder IS NULL;
-- Reaping, and counting what a tenant has under way.
CREATE INDEX jobs_leased ON work.jobs (tenant) WHERE holder IS NOT NULL;
