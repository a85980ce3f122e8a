-- Read model `runs`: runs, what their agents did, and how they ended. Owner: projections/src/runs.

CREATE TABLE read.runs (
    tenant             uuid        NOT NULL,
    run                uuid        NOT NULL,
    card               uuid        NOT NULL,
    project            uuid        NOT NULL,
    workspace          uuid        NOT NULL,
    title              text        NOT NULL,
    state              text        NOT NULL,
    attempt            integer     NOT NULL,
    environment        uuid,
    branch             text        NOT NULL,
    provider           uuid        NOT NULL,
    provider_kind      text        NOT NULL,
    model              text        NOT NULL,
    requested_by       text        NOT NULL,
    outcome            jsonb,
    failure            text,
    reason             text,
    log_tail           text,
    queued_at          timestamptz NOT NULL,
    dispatched_at      timestamptz,
    started_at         timestamptz,
    ended_at           timestamptz,
    model_calls        bigint      NOT NULL,
    input_tokens       bigint      NOT NULL,
    output_tokens      bigint      NOT NULL,
    cache_read_tokens  bigint      NOT NULL,
    cache_write_tokens bigint      NOT NULL,
    version            bigint      NOT NULL,
    position           bigint      NOT NULL,
    PRIMARY KEY (tenant, run)
);
-- A project's runs, newest first: the ids sort by their time.
CREATE INDEX runs_of_project ON read.runs (tenant, project, run DESC);
CREATE INDEX runs_of_card ON read.runs (tenant, card, run DESC);
-- How many runs of a project are not over.
CREATE INDEX runs_active ON read.runs (tenant, project) WHERE ended_at IS NULL;

CREATE TABLE read.run_steps (
    tenant      uuid        NOT NULL,
    run         uuid        NOT NULL,
    attempt     integer     NOT NULL,
    number      integer     NOT NULL,
    kind        text        NOT NULL,
    title       text        NOT NULL,
    detail      text        NOT NULL,
    ok          boolean     NOT NULL,
    duration_ms bigint      NOT NULL,
    occurred_at timestamptz NOT NULL,
    position    bigint      NOT NULL,
    PRIMARY KEY (tenant, run, attempt, number)
);

SELECT log.protect(model::regclass)
FROM unnest(ARRAY['read.runs', 'read.run_steps']) AS model;
