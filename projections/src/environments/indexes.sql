-- A project's environments, newest first: the ids sort by their time.
CREATE INDEX IF NOT EXISTS environments_of_project ON environments (tenant, project, environment DESC);
-- What changed in a project since a position.
CREATE INDEX IF NOT EXISTS environments_changed ON environments (tenant, project, position);
