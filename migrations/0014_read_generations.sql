-- projections: the generations of the read models. A generation's tables are a schema of its own, made from the model's
-- DDL (projections/src/<model>/tables.sql); `read` holds only the list. Which one serves is decided by one row here, so
-- that a model can be built again beside the one that serves, and readers switch with a commit.

CREATE TABLE read.models (
    model      text        NOT NULL,
    -- The version of the code that writes and reads it: of its tables and of what stands in them. Programs of different
    -- releases each have a generation that serves them.
    code       integer     NOT NULL CHECK (code > 0),
    generation integer     NOT NULL CHECK (generation > 0),
    state      text        NOT NULL CHECK (state IN ('building', 'serving', 'retired')),
    schema     text        NOT NULL UNIQUE GENERATED ALWAYS AS (model || '_' || generation) STORED,
    -- Since when it is in its state.
    since      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (model, generation)
);
CREATE UNIQUE INDEX models_serving ON read.models (model, code) WHERE state = 'serving';
CREATE UNIQUE INDEX models_building ON read.models (model, code) WHERE state = 'building';

-- Generations come, go and switch by the owner's hand alone.
REVOKE INSERT, UPDATE, DELETE ON read.models FROM agentworks_worker;
GRANT SELECT ON read.models TO agentworks_app, agentworks_worker;

-- What there is, is the first generation.
DO $$
DECLARE
    of record;
    moved text;
BEGIN
    FOR of IN
        SELECT * FROM (VALUES
            ('board', ARRAY['tenants', 'workspaces', 'providers', 'projects', 'cards']),
            ('card_history', ARRAY['card_history', 'card_history_runs', 'card_history_environments']),
            ('runs', ARRAY['runs', 'run_steps']),
            ('usage', ARRAY['usage', 'usage_runs'])
        ) AS models (model, tables)
    LOOP
        INSERT INTO read.models (model, code, generation, state) VALUES (of.model, 1, 1, 'serving');
        EXECUTE format('CREATE SCHEMA %I', of.model || '_1');
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO agentworks_app, agentworks_worker', of.model || '_1');
        FOREACH moved IN ARRAY of.tables LOOP
            EXECUTE format('ALTER TABLE read.%I SET SCHEMA %I', moved, of.model || '_1');
        END LOOP;
    END LOOP;
END $$;
