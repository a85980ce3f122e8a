-- Commands that a process manager has decided on and that are still to be dispatched: written in the transaction that
-- moves its position, deleted once dispatched. Owner: workers/src/process. The command id makes a second dispatch harmless.

CREATE TABLE work.outgoing (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant       uuid        NOT NULL,
    command      uuid        NOT NULL UNIQUE,
    -- What is to be done; see workers/src/process/order.rs.
    "order"      json        NOT NULL,
    correlation  uuid        NOT NULL,
    causation    uuid        NOT NULL,
    traceparent  text,
    tries        integer     NOT NULL DEFAULT 0,
    available_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX outgoing_due ON work.outgoing (available_at, id);
