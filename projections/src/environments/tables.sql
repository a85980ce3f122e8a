-- Read model `environments`: where attempts of runs work or worked. Owner: projections/src/environments.

CREATE TABLE environments (
    tenant          uuid        NOT NULL,
    environment     uuid        NOT NULL,
    project         uuid        NOT NULL,
    run             uuid        NOT NULL,
    attempt         integer     NOT NULL,
    driver          text        NOT NULL,
    state           text        NOT NULL,
    confinement     text[]      NOT NULL,
    failure         text,
    requested_at    timestamptz NOT NULL,
    provisioning_at timestamptz,
    ready_at        timestamptz,
    stopping_at     timestamptz,
    ended_at        timestamptz,
    version         bigint      NOT NULL,
    position        bigint      NOT NULL,
    PRIMARY KEY (tenant, environment)
);
