-- The queue has two levels: a lane for each tenant, and the jobs in it. Owner: workers/src/jobs.
-- A lane is open when one of its jobs could be claimed now; claiming looks at open lanes only, so that what cannot run
-- costs nothing, however much of it there is. A lane's row is locked before any of its jobs is put into another state, so
-- its counts are right whatever dies. Workers of a release before this one know no lanes: stop them before you migrate.

-- What holds for all lanes; one row, written by each worker when it starts.
CREATE TABLE work.queue (
    one       boolean PRIMARY KEY DEFAULT true CHECK (one),
    -- Runs that a tenant may have under way, when its lane says nothing else.
    run_limit integer NOT NULL CHECK (run_limit > 0)
);
INSERT INTO work.queue (run_limit) VALUES (10);

CREATE FUNCTION work.is_open(paused_at timestamptz, ready integer, running integer, run_limit integer) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN paused_at IS NULL AND ready > 0 AND running < run_limit;

CREATE TABLE work.lanes (
    tenant    uuid    PRIMARY KEY,
    -- The tenant's share, relative to the others'.
    weight    integer NOT NULL DEFAULT 1 CHECK (weight > 0),
    -- The tenant's own limit of runs under way, if it has one; and the limit that holds.
    own_limit integer CHECK (own_limit > 0),
    run_limit integer NOT NULL CHECK (run_limit > 0),
    -- Since when an operator lets nothing of it start.
    paused_at timestamptz,
    -- Jobs that wait and are due; jobs that are held and whose run has not ended.
    ready     integer NOT NULL DEFAULT 0 CHECK (ready >= 0),
    running   integer NOT NULL DEFAULT 0 CHECK (running >= 0),
    -- Virtual time: microseconds of environment that its jobs have cost, and are estimated to cost, by its weight. The
    -- open lane with the least comes next.
    vtime     bigint  NOT NULL DEFAULT 0,
    -- What its next job is estimated to cost, in microseconds of environment: a moving mean of what the last ones did.
    estimate  bigint  NOT NULL DEFAULT 60000000 CHECK (estimate > 0),
    open      boolean NOT NULL GENERATED ALWAYS AS (work.is_open(paused_at, ready, running, run_limit)) STORED
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX lanes_open ON work.lanes (open, vtime, tenant);

ALTER TABLE work.jobs
    -- The higher comes first in its lane.
    ADD COLUMN priority   integer     NOT NULL DEFAULT 0,
    -- Not to be claimed before. Among equal priorities the longest due comes first.
    ADD COLUMN due_at     timestamptz NOT NULL DEFAULT now(),
    -- It waits and is known to be due.
    ADD COLUMN ready      boolean     NOT NULL DEFAULT false,
    -- Of the present claim: when, and what its lane was charged for it (virtual time).
    ADD COLUMN claimed_at timestamptz,
    ADD COLUMN charge     bigint      NOT NULL DEFAULT 0,
    ADD CHECK (NOT ready OR holder IS NULL),
    SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);
UPDATE work.jobs
SET due_at = queued_at, ready = holder IS NULL, claimed_at = CASE WHEN holder IS NOT NULL THEN now() END;
INSERT INTO work.lanes (tenant, run_limit, ready, running)
SELECT tenant, 10, count(*) FILTER (WHERE ready), count(*) FILTER (WHERE holder IS NOT NULL AND NOT ended)
FROM work.jobs GROUP BY tenant;

DROP INDEX work.jobs_waiting, work.jobs_leased;
-- The next of a lane.
CREATE INDEX jobs_next ON work.jobs (tenant, priority DESC, due_at, run) WHERE ready;
-- What has become due, and what is due for too long.
CREATE INDEX jobs_waiting ON work.jobs (ready, due_at) WHERE holder IS NULL;
-- What a worker holds, and what is held at all.
CREATE INDEX jobs_held ON work.jobs (holder) WHERE holder IS NOT NULL;

-- Workers that take jobs, each as it last said so itself.
CREATE TABLE work.workers (
    holder  uuid        PRIMARY KEY,
    seen_at timestamptz NOT NULL
);
