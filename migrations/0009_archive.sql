-- Ranges that have left the database. `archive` names the file below the root of the store,
-- `sha256` is that of the file's table of contents, which has those of all its parts.
ALTER TABLE log.ranges ADD COLUMN sha256 bytea CHECK ((sha256 IS NOT NULL) = (state = 'archived'));
-- Whoever finds a gap asks where it went; whether a stream exists that has no rows left.
GRANT SELECT ON log.streams TO agentworks_worker;
