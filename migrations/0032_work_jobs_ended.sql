-- A job whose run has ended stays until its holder has taken the environment down, so that whoever comes after a dead
-- holder knows what is left to be done. Owner: workers/src/jobs.
ALTER TABLE work.jobs ADD COLUMN ended boolean NOT NULL DEFAULT false;
