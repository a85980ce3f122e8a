-- Read model `card_history`: one row for each event that concerns a card: the card's own, its runs' and their
-- environments'. Owner: projections/src/card_history.

CREATE TABLE card_history (
    tenant      uuid        NOT NULL,
    card        uuid        NOT NULL,
    position    bigint      NOT NULL,
    event       uuid        NOT NULL,
    kind        text        NOT NULL,
    actor       text        NOT NULL,
    occurred_at timestamptz NOT NULL,
    run         uuid,
    attempt     integer,
    summary     text        NOT NULL,
    -- The event's payload without references to secrets; `json` keeps the order in which it was written.
    payload     json        NOT NULL,
    PRIMARY KEY (tenant, card, position)
);

-- Which card a run or an environment belongs to: their later events do not say.
CREATE TABLE card_history_runs (
    tenant uuid NOT NULL,
    run    uuid NOT NULL,
    card   uuid NOT NULL,
    PRIMARY KEY (tenant, run)
);

CREATE TABLE card_history_environments (
    tenant      uuid    NOT NULL,
    environment uuid    NOT NULL,
    run         uuid    NOT NULL,
    attempt     integer NOT NULL,
    PRIMARY KEY (tenant, environment)
);
