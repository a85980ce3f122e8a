-- Read model `usage`: what a tenant used, by day (UTC), project, provider and model. Sums of whole numbers: tokens,
-- counts and milliseconds. Owner: projections/src/usage.

CREATE TABLE usage (
    tenant             uuid   NOT NULL,
    day                date   NOT NULL,
    project            uuid   NOT NULL,
    provider           uuid   NOT NULL,
    model              text   NOT NULL,
    model_calls        bigint NOT NULL,
    input_tokens       bigint NOT NULL,
    output_tokens      bigint NOT NULL,
    cache_read_tokens  bigint NOT NULL,
    cache_write_tokens bigint NOT NULL,
    runs_succeeded     bigint NOT NULL,
    runs_failed        bigint NOT NULL,
    runs_timed_out     bigint NOT NULL,
    runs_cancelled     bigint NOT NULL,
    run_ms             bigint NOT NULL,
    PRIMARY KEY (tenant, day, project, provider, model)
);

-- What a run's later events do not say: whose they are, and since when the present attempt works.
CREATE TABLE usage_runs (
    tenant     uuid        NOT NULL,
    run        uuid        NOT NULL,
    project    uuid        NOT NULL,
    provider   uuid        NOT NULL,
    model      text        NOT NULL,
    started_at timestamptz,
    PRIMARY KEY (tenant, run)
);
