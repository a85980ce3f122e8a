-- Read model `runs`: runs, what their agents did, and how they ended. Owner: projections/src/runs.

CREATE TABLE runs (
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

CREATE TABLE run_steps (
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
