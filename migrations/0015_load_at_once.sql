-- A load is one row. Owner: outbox/src/read.rs.
DROP FUNCTION log.load(integer, uuid, text, uuid);
DROP FUNCTION log.load(integer, uuid, text, uuid, integer);

-- Where a stream is; its snapshot, if there is one that belongs to it (cut at an event that it has, with that event's chain);
-- its events after the snapshot, in order. No row when there is no such stream.
--
-- The events are in one row, as a thousand rows cost more to send and to receive than to read: their types with a space between,
-- their payloads with U+001E between, which no JSON has.
CREATE FUNCTION log.load(at_partition integer, of_tenant uuid, of_type text, of_stream uuid, of_form integer)
    RETURNS TABLE (version bigint, "position" bigint, chain bytea, cut bigint, state json, digest bytea,
        types text, versions integer[], payloads text)
    LANGUAGE plpgsql
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
    -- By the index that has them in order.
    SET enable_sort = off
    AS $$
#variable_conflict use_column
DECLARE
    first bigint;
    since bigint := 0;
    cut_at bigint;
    cut_chain bytea;
    tenant text := set_config('agentworks.tenant', of_tenant::text, true);
BEGIN
    SELECT s.version, s.position, s.chain, s.first_position, c.version, c.position, c.chain, c.state, c.digest
    INTO version, position, chain, first, cut, cut_at, cut_chain, state, digest
    FROM log.streams s
    LEFT JOIN log.snapshots c ON c.stream = of_stream AND c.tenant = of_tenant AND c.type = of_type AND c.form = of_form
    WHERE s.stream = of_stream AND s.tenant = of_tenant AND s.type = of_type;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF cut = version AND cut_at = position AND cut_chain = chain THEN
        RETURN NEXT;
        RETURN;
    END IF;
    IF cut IS NOT NULL THEN
        since := cut;
        PERFORM FROM log.events e WHERE e.partition = at_partition AND e.position = cut_at
            AND e.tenant = of_tenant AND e.stream = of_stream AND e.version = since AND e.chain = cut_chain;
        IF FOUND THEN
            first := cut_at + 1;
        ELSE
            since := 0;
            cut := NULL;
        END IF;
    END IF;
    RETURN QUERY
    SELECT load.version, load.position, load.chain, load.cut, load.state, load.digest,
        string_agg(e.event_type, ' '), array_agg(e.event_version), string_agg(e.payload::text, chr(30))
    FROM (
        SELECT e.event_type, e.event_version, e.payload
        FROM log.events e
        WHERE e.partition = at_partition AND e.stream = of_stream AND e.tenant = of_tenant AND e.version > since
            AND e.position BETWEEN first AND load.position
        ORDER BY e.version
    ) e;
END $$;
GRANT EXECUTE ON FUNCTION log.load TO agentworks_app;
