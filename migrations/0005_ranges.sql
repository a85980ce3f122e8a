-- The events stand in ranges of positions, each a table of its own, so that an old range can be archived and detached.
-- (Not to be confused with the log's partitions, which each have their own positions.) An event is in the range of its
-- partition and position; a reader that names both touches no other range. What an index over all ranges would guard,
-- `streams` and `commands` guard.

-- How far there are ranges, and how many positions the next one takes.
ALTER TABLE log.clock
    ADD COLUMN room bigint NOT NULL DEFAULT 0,
    ADD COLUMN range_size bigint NOT NULL DEFAULT 1000000 CHECK (range_size > 0);

CREATE TABLE log.ranges (
    partition integer NOT NULL,
    first bigint NOT NULL,
    last bigint NOT NULL CHECK (last >= first),
    -- `open`: has room for appends; `closed`: all its positions are taken; `archived`: its events are in `archive`.
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'closed', 'archived')),
    archive text CHECK ((archive IS NOT NULL) = (state = 'archived')),
    PRIMARY KEY (partition, first)
);
GRANT SELECT ON log.ranges TO agentworks_app, agentworks_worker;

ALTER TABLE log.events RENAME TO events_before;
ALTER TABLE log.events_before DROP CONSTRAINT events_pkey;
CREATE TABLE log.events (LIKE log.events_before, PRIMARY KEY (partition, position)) PARTITION BY RANGE (partition, position);
-- A stream's events in their order; a tenant's.
CREATE INDEX events_of_stream ON log.events (stream, version);
CREATE INDEX events_by_tenant ON log.events (tenant, position);
SELECT log.protect('log.events');
GRANT SELECT ON log.events TO agentworks_worker;
CREATE TRIGGER unchangeable BEFORE UPDATE OR DELETE OR TRUNCATE ON log.events
    FOR EACH STATEMENT EXECUTE FUNCTION log.refuse_change();
ALTER TABLE log.events ENABLE ALWAYS TRIGGER unchangeable;

-- Makes a partition's next range. Whoever appends holds the partition's clock, so nobody else makes it too. Attached, not
-- created in place: that would wait for all who read, and all would wait for it.
CREATE FUNCTION log.make_range(of_partition integer) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    head bigint;
    first bigint;
    last bigint;
    made text;
BEGIN
    UPDATE log.clock c SET room = c.room + c.range_size WHERE c.partition = of_partition
        RETURNING c.position, c.room - c.range_size + 1, c.room INTO head, first, last;
    made := format('log.events_%s_%s', of_partition, first);
    EXECUTE format('CREATE TABLE %s (LIKE log.events INCLUDING ALL)', made);
    -- It is reached through log.events alone: no role has a grant on it, and no policy lets a row through.
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', made);
    EXECUTE format('CREATE TRIGGER unchangeable BEFORE UPDATE OR DELETE OR TRUNCATE ON %s '
        'FOR EACH STATEMENT EXECUTE FUNCTION log.refuse_change()', made);
    EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER unchangeable', made);
    EXECUTE format('ALTER TABLE log.events ATTACH PARTITION %s FOR VALUES FROM (%s, %s) TO (%s, %s)',
        made, of_partition, first, of_partition, last + 1);
    INSERT INTO log.ranges (partition, first, last) VALUES (of_partition, first, last);
    UPDATE log.ranges r SET state = 'closed'
        WHERE r.partition = of_partition AND r.state = 'open' AND r.last <= head;
END $$;

-- What was there before moves into ranges.
DO $$
DECLARE
    each record;
BEGIN
    FOR each IN SELECT c.partition, (c.position - 1) / c.range_size + 1 AS needed FROM log.clock c WHERE c.position > 0 LOOP
        FOR nth IN 1..each.needed LOOP
            PERFORM log.make_range(each.partition);
        END LOOP;
    END LOOP;
END $$;
INSERT INTO log.events SELECT * FROM log.events_before ORDER BY partition, position;

-- A stream knows between which positions it lies. Ids are drawn in the order of time, so that the newest stand together in
-- an index that begins with them.
ALTER TABLE log.streams ADD COLUMN first_position bigint;
UPDATE log.streams s SET first_position = e.position
    FROM log.events_before e WHERE e.tenant = s.tenant AND e.stream = s.stream AND e.version = 1;
ALTER TABLE log.streams
    ALTER COLUMN first_position SET NOT NULL,
    DROP CONSTRAINT streams_pkey,
    ADD PRIMARY KEY (stream, tenant);
ALTER TABLE log.commands
    DROP CONSTRAINT commands_pkey,
    ADD PRIMARY KEY (command, tenant);

DROP TABLE log.events_before;
