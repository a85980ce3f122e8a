-- Reads under row-level security in one round trip: each sets the tenant for its transaction, then reads as the caller.
-- One plan for all calls, by the indexes also when it was made while the tables were empty.

-- A stream's events in order.
CREATE FUNCTION log.load(of_tenant uuid, of_type text, of_stream uuid)
    RETURNS TABLE (id uuid, version bigint, "position" bigint, chain bytea, event_type text, event_version integer, payload json)
    LANGUAGE plpgsql
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
    AS $$
#variable_conflict use_column
BEGIN
    PERFORM set_config('agentworks.tenant', of_tenant::text, true);
    RETURN QUERY
    SELECT e.id, e.version, e.position, e.chain, e.event_type, e.event_version, e.payload
    FROM log.events e
    WHERE e.tenant = of_tenant AND e.stream = of_stream AND e.aggregate_type = of_type
    ORDER BY e.version;
END $$;

-- What a command led to, if it was appended.
CREATE FUNCTION log.command(of_tenant uuid, of_command uuid)
    RETURNS TABLE (fingerprint bytea, aggregate_type text, stream uuid, version bigint, "position" bigint)
    LANGUAGE plpgsql
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
    AS $$
#variable_conflict use_column
BEGIN
    PERFORM set_config('agentworks.tenant', of_tenant::text, true);
    RETURN QUERY
    SELECT c.fingerprint, c.aggregate_type, c.stream, c.version, c.position
    FROM log.commands c
    WHERE c.tenant = of_tenant AND c.command = of_command;
END $$;

GRANT EXECUTE ON FUNCTION log.load, log.command TO agentworks_app;
