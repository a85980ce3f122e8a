-- The only way in: a group of appends to one partition, each with its own verdict.
--
-- The arrays have one element an event; what an append's events share is repeated, so that nothing need be joined. The
-- events of an append stand together and in order; `last` marks each append's last one. In a group each stream and each
-- command stands at most once (the caller sees to it). Answered is one row an append, in order.
--
-- Verdicts: `stored` (version and position of the last event), `repeated` (those of then), `mismatch` (the command id was
-- used with another fingerprint), `conflict` (version: where the stream is).
CREATE FUNCTION log.append(
    at_partition integer,
    tenants uuid[], commands uuid[], fingerprints bytea[], types text[], streams uuid[],
    expected_versions bigint[], expected_chains bytea[],
    actors text[], correlations uuid[], causations uuid[], traceparents text[], occurred_ats timestamptz[],
    ids uuid[], versions bigint[], event_types text[], event_versions integer[], payloads text[], metas text[],
    digests bytea[], chains bytea[], lasts boolean[],
    wake_relays boolean
) RETURNS TABLE (verdict text, type text, stream uuid, version bigint, "position" bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    -- One plan for all, as planning anew for the arrays of each call costs more than running it; and one that goes by the
    -- indexes, also when it was made while the tables were empty.
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    -- Each look-up finds one row or none: a bitmap or a memory of past look-ups only adds to it (a tenth of the throughput).
    SET enable_bitmapscan = off
    SET enable_memoize = off
    AS $$
#variable_conflict use_column
DECLARE
    head bigint;
BEGIN
    -- From here to the commit the partition is ours, and the statement below sees all that was committed before.
    SELECT c.position INTO head FROM log.clock c WHERE c.partition = at_partition FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the log has no partition %', at_partition;
    END IF;

    RETURN QUERY
    WITH asked AS (
        SELECT e.*, past.aggregate_type AS past_type, past.stream AS past_stream, past.version AS past_version,
            past.position AS past_position, coalesce(now.version, 0) AS now_version,
            CASE
                WHEN past.fingerprint = e.fingerprint THEN 'repeated'
                WHEN past.fingerprint IS NOT NULL THEN 'mismatch'
                WHEN coalesce(now.version, 0) <> e.expected_version THEN 'conflict'
                WHEN coalesce(now.chain, decode(repeat('00', 32), 'hex')) <> e.expected_chain THEN 'conflict'
                WHEN now.type <> e.type THEN 'conflict'
                ELSE 'stored'
            END AS verdict
        FROM unnest(tenants, commands, fingerprints, types, streams, expected_versions, expected_chains, actors,
                correlations, causations, traceparents, occurred_ats, ids, versions, event_types, event_versions,
                payloads, metas, digests, chains, lasts)
            WITH ORDINALITY AS e (tenant, command, fingerprint, type, stream, expected_version, expected_chain, actor,
                correlation, causation, traceparent, occurred_at, id, version, event_type, event_version,
                payload, meta, digest, chain, last, nth)
        LEFT JOIN log.commands past ON past.tenant = e.tenant AND past.command = e.command
        LEFT JOIN log.streams now ON now.tenant = e.tenant AND now.stream = e.stream
    ), placed AS MATERIALIZED (
        SELECT asked.*, head + count(*) FILTER (WHERE verdict = 'stored') OVER (ORDER BY nth) AS position FROM asked
    ), stored_events AS (
        INSERT INTO log.events (partition, position, tenant, id, aggregate_type, stream, version, event_type,
            event_version, actor, command, correlation, causation, traceparent, occurred_at, recorded_at, payload, meta,
            digest, chain)
        SELECT at_partition, position, tenant, id, type, stream, version, event_type,
            event_version, actor, command, correlation, causation, traceparent, occurred_at, clock_timestamp(),
            payload::json, meta::json, digest, chain
        FROM placed WHERE verdict = 'stored'
    ), stored_streams AS (
        INSERT INTO log.streams (tenant, stream, type, version, chain, position)
        SELECT tenant, stream, type, version, chain, position FROM placed WHERE verdict = 'stored' AND last
        ON CONFLICT (tenant, stream)
            DO UPDATE SET version = excluded.version, chain = excluded.chain, position = excluded.position
    ), stored_commands AS (
        INSERT INTO log.commands (tenant, command, fingerprint, aggregate_type, stream, version, position)
        SELECT tenant, command, fingerprint, type, stream, version, position FROM placed WHERE verdict = 'stored' AND last
    ), moved_clock AS (
        UPDATE log.clock c SET position = (SELECT max(placed.position) FROM placed)
        WHERE c.partition = at_partition AND EXISTS (SELECT FROM placed WHERE verdict = 'stored')
    )
    SELECT verdict, coalesce(past_type, type), coalesce(past_stream, stream),
        CASE verdict WHEN 'stored' THEN version WHEN 'conflict' THEN now_version ELSE past_version END,
        CASE verdict WHEN 'stored' THEN position ELSE past_position END
    FROM placed WHERE last ORDER BY nth;

    IF wake_relays THEN
        PERFORM pg_notify('agentworks_appended', at_partition::text);
    END IF;
END $$;
GRANT EXECUTE ON FUNCTION log.append TO agentworks_app;
