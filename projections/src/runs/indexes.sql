-- A project's runs, newest first: the ids sort by their time.
CREATE INDEX IF NOT EXISTS runs_of_project ON runs (tenant, project, run DESC);
CREATE INDEX IF NOT EXISTS runs_of_card ON runs (tenant, card, run DESC);
-- How many runs of a project are not over.
CREATE INDEX IF NOT EXISTS runs_active ON runs (tenant, project) WHERE ended_at IS NULL;
