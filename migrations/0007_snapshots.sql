-- Snapshots: what the events of a stream came to at one of its versions, so that a load need not read those before it.
-- Taken in the background, disposable: without any of them everything is the same but slower. Owner: outbox/src/snapshot.rs.
CREATE TABLE log.snapshots (
    tenant uuid NOT NULL,
    stream uuid NOT NULL,
    type text NOT NULL,
    -- Which form of the state this is (`Decider::STATE`); those of another release are ignored.
    form integer NOT NULL,
    -- The last event that is in it.
    version bigint NOT NULL,
    position bigint NOT NULL,
    chain bytea NOT NULL,
    state json NOT NULL,
    -- Over all of it, so that one that was damaged is ignored too.
    digest bytea NOT NULL,
    PRIMARY KEY (stream, tenant)
);
SELECT log.protect('log.snapshots');
GRANT SELECT, INSERT, UPDATE, DELETE ON log.snapshots TO agentworks_worker;

-- A stream: first a row with where it is, and its snapshot if there is one that belongs to it (cut at an event that it has, with
-- that event's chain); then its events after the snapshot, in order.
CREATE FUNCTION log.load(at_partition integer, of_tenant uuid, of_type text, of_stream uuid, of_form integer)
    RETURNS TABLE (event_type text, event_version integer, payload json, id uuid,
        version bigint, "position" bigint, chain bytea, cut bigint, digest bytea)
    LANGUAGE plpgsql
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
    AS $$
#variable_conflict use_column
DECLARE
    now log.streams;
    snapshot log.snapshots;
BEGIN
    PERFORM set_config('agentworks.tenant', of_tenant::text, true);
    SELECT * INTO now FROM log.streams s WHERE s.stream = of_stream AND s.tenant = of_tenant AND s.type = of_type;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT * INTO snapshot FROM log.snapshots c
    WHERE c.stream = of_stream AND c.tenant = of_tenant AND c.type = of_type AND c.form = of_form
        AND ((c.version, c.position, c.chain) = (now.version, now.position, now.chain)
            OR EXISTS (SELECT FROM log.events e WHERE e.partition = at_partition AND e.position = c.position
                AND e.tenant = c.tenant AND e.stream = c.stream AND e.version = c.version AND e.chain = c.chain));
    RETURN QUERY SELECT NULL::text, NULL::integer, snapshot.state, NULL::uuid,
        now.version, now.position, now.chain, snapshot.version, snapshot.digest;
    RETURN QUERY
    SELECT e.event_type, e.event_version, e.payload, e.id, e.version, NULL::bigint, NULL::bytea, NULL::bigint, NULL::bytea
    FROM log.events e
    WHERE e.partition = at_partition AND e.stream = of_stream AND e.tenant = of_tenant
        AND e.version > coalesce(snapshot.version, 0)
        AND e.position BETWEEN coalesce(snapshot.position + 1, now.first_position) AND now.position
    ORDER BY e.version;
END $$;
GRANT EXECUTE ON FUNCTION log.load(integer, uuid, text, uuid, integer) TO agentworks_app;
