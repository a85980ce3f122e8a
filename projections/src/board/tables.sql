-- Read model `board`: what stands on the boards, and what they belong to. Owner: projections/src/board.
-- `position` is the place in the log of the row's last change; a row is never deleted, so "what changed since" is
-- `position > $1` and an archived card stays as its own tombstone.

CREATE TABLE tenants (
    tenant     uuid        NOT NULL,
    id         uuid        NOT NULL CHECK (id = tenant),
    name       text        NOT NULL,
    suspended  boolean     NOT NULL,
    created_at timestamptz NOT NULL,
    version    bigint      NOT NULL,
    position   bigint      NOT NULL,
    PRIMARY KEY (tenant, id)
);

CREATE TABLE workspaces (
    tenant     uuid        NOT NULL,
    workspace  uuid        NOT NULL,
    name       text        NOT NULL,
    archived   boolean     NOT NULL,
    created_at timestamptz NOT NULL,
    version    bigint      NOT NULL,
    position   bigint      NOT NULL,
    PRIMARY KEY (tenant, workspace)
);

-- No column for the key or its reference: what is not here cannot leak.
CREATE TABLE providers (
    tenant        uuid        NOT NULL,
    provider      uuid        NOT NULL,
    name          text        NOT NULL,
    kind          text        NOT NULL,
    base_url      text,
    default_model text        NOT NULL,
    enabled       boolean     NOT NULL,
    created_at    timestamptz NOT NULL,
    version       bigint      NOT NULL,
    position      bigint      NOT NULL,
    PRIMARY KEY (tenant, provider)
);

CREATE TABLE projects (
    tenant         uuid        NOT NULL,
    project        uuid        NOT NULL,
    workspace      uuid        NOT NULL,
    name           text        NOT NULL,
    repository_url text        NOT NULL,
    default_branch text        NOT NULL,
    has_credential boolean     NOT NULL,
    lanes          jsonb       NOT NULL,
    policy         jsonb       NOT NULL,
    provider       uuid,
    model          text,
    archived       boolean     NOT NULL,
    created_at     timestamptz NOT NULL,
    created_by     text        NOT NULL,
    updated_at     timestamptz NOT NULL,
    updated_by     text        NOT NULL,
    version        bigint      NOT NULL,
    position       bigint      NOT NULL,
    PRIMARY KEY (tenant, project)
);

CREATE TABLE cards (
    tenant         uuid        NOT NULL,
    card           uuid        NOT NULL,
    project        uuid        NOT NULL,
    lane           text        NOT NULL,
    rank           text        COLLATE "C" NOT NULL,
    title          text        NOT NULL,
    description    text        NOT NULL,
    agent          jsonb,
    depends_on     uuid[]      NOT NULL,
    blocked_reason text,
    active_run     uuid,
    last_run       jsonb,
    archived       boolean     NOT NULL,
    created_at     timestamptz NOT NULL,
    created_by     text        NOT NULL,
    updated_at     timestamptz NOT NULL,
    updated_by     text        NOT NULL,
    version        bigint      NOT NULL,
    position       bigint      NOT NULL,
    PRIMARY KEY (tenant, card)
);
