-- The only way in: a group of appends to one partition, all stored or none.
--
-- The first arrays have one element an append, those from `ids` on one an event, the events of an append together and in
-- order; `ends` says which is each append's last. In a group each stream and each command stands at most once (the caller
-- sees to it).
--
-- Nothing is looked up first: a command or a stream that is there already violates its key, a stream that is elsewhere is
-- not found, and then nothing is stored. Answered is either one row, `append` 0 and the position before the group's first
-- event; or one row for each append that cannot be stored, and why. The caller sends the others again.
DROP FUNCTION log.append;
CREATE FUNCTION log.append(
    at_partition integer, wake_relays boolean, meta json,
    tenants uuid[], commands uuid[], fingerprints bytea[], types text[], streams uuid[],
    expected_versions bigint[], expected_chains bytea[],
    actors text[], correlations uuid[], causations uuid[], traceparents text[], occurred_ats timestamptz[], ends integer[],
    ids uuid[], appends integer[], versions bigint[], event_types text[], event_versions integer[], payloads json[],
    digests bytea[], chains bytea[]
) RETURNS TABLE (append integer, verdict text, type text, stream uuid, version bigint, "position" bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    -- One plan for all, as planning anew for the arrays of each call costs more than running it; and one that goes by the
    -- indexes, also when it was made while the tables were empty.
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
    SET enable_hashjoin = off
    SET enable_mergejoin = off
    SET enable_bitmapscan = off
    AS $$
#variable_conflict use_column
DECLARE
    count integer := cardinality(ids);
    nothing CONSTANT bytea := '\x0000000000000000000000000000000000000000000000000000000000000000';
    at timestamptz;
    head bigint;
    room bigint;
    spare bigint;
    new integer;
    moved integer := 0;
BEGIN
    -- The partition is ours until the transaction is wholly over: not only has it committed then, everybody also knows of
    -- a range that it made. The lock on the clock's row alone would go a moment earlier.
    PERFORM pg_advisory_xact_lock('log.clock'::regclass::oid::integer, at_partition);
    BEGIN
        UPDATE log.clock c SET position = c.position + count WHERE c.partition = at_partition
            RETURNING c.position - count, c.room, c.range_size / 2 INTO head, room, spare;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'the log has no partition %', at_partition;
        END IF;
        IF head + count + spare > room THEN
            PERFORM log.make_room(at_partition);
        END IF;
        at := clock_timestamp();

        INSERT INTO log.commands (tenant, command, fingerprint, aggregate_type, stream, version, position)
        SELECT tenants[a], commands[a], fingerprints[a], types[a], streams[a], versions[ends[a]], head + ends[a]
        FROM generate_series(1, cardinality(ends)) a;

        INSERT INTO log.streams (tenant, stream, type, version, chain, first_position, position)
        SELECT tenants[a], streams[a], types[a], versions[ends[a]], chains[ends[a]],
            head + ends[a] - versions[ends[a]] + 1, head + ends[a]
        FROM generate_series(1, cardinality(ends)) a WHERE expected_versions[a] = 0 AND expected_chains[a] = nothing;
        GET DIAGNOSTICS new = ROW_COUNT;
        IF new < cardinality(ends) THEN
            UPDATE log.streams s SET version = versions[ends[a]], chain = chains[ends[a]], position = head + ends[a]
            FROM generate_series(1, cardinality(ends)) a
            WHERE s.stream = streams[a] AND s.tenant = tenants[a] AND s.version = expected_versions[a]
                AND s.chain = expected_chains[a] AND s.type = types[a] AND expected_versions[a] > 0;
            GET DIAGNOSTICS moved = ROW_COUNT;
            IF new + moved < cardinality(ends) THEN
                RAISE EXCEPTION 'a stream is not where it was seen' USING ERRCODE = 'unique_violation';
            END IF;
        END IF;

        INSERT INTO log.events (partition, position, tenant, id, aggregate_type, stream, version, event_type,
            event_version, actor, command, correlation, causation, traceparent, occurred_at, recorded_at, payload,
            meta, digest, chain)
        SELECT at_partition, head + e, tenants[appends[e]], ids[e], types[appends[e]], streams[appends[e]], versions[e],
            event_types[e], event_versions[e], actors[appends[e]], commands[appends[e]], correlations[appends[e]],
            causations[appends[e]], traceparents[appends[e]], occurred_ats[appends[e]], at, payloads[e],
            meta, digests[e], chains[e]
        FROM generate_series(1, count) e;

        IF wake_relays THEN
            PERFORM pg_notify('agentworks_appended', at_partition::text);
        END IF;
        append := 0;
        verdict := 'stored';
        position := head;
        RETURN NEXT;
        RETURN;
    EXCEPTION WHEN unique_violation THEN
        -- Nothing was stored, so nothing need reach the disk.
        PERFORM set_config('synchronous_commit', 'off', true);
    END;
    RETURN QUERY SELECT * FROM log.refused(tenants, commands, fingerprints, types, streams, expected_versions, expected_chains);
    IF NOT FOUND THEN
        RAISE EXCEPTION 'what the log holds refuses an append and does not say why';
    END IF;
END $$;
GRANT EXECUTE ON FUNCTION log.append TO agentworks_app;

-- Which of these appends cannot be stored, and why: `repeated` (what the command led to then), `mismatch` (the command id was
-- used with another fingerprint), `conflict` (version: where the stream is).
CREATE FUNCTION log.refused(
    tenants uuid[], commands uuid[], fingerprints bytea[], types text[], streams uuid[], expected_versions bigint[],
    expected_chains bytea[]
) RETURNS TABLE (append integer, verdict text, type text, stream uuid, version bigint, "position" bigint)
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT a::integer, judged.verdict, past.aggregate_type, past.stream,
        CASE judged.verdict WHEN 'conflict' THEN coalesce(now.version, 0) ELSE past.version END, past.position
    FROM unnest(tenants, commands, fingerprints, types, streams, expected_versions, expected_chains)
        WITH ORDINALITY AS e (tenant, command, fingerprint, type, stream, expected_version, expected_chain, a)
    LEFT JOIN log.commands past ON past.command = e.command AND past.tenant = e.tenant
    LEFT JOIN log.streams now ON now.stream = e.stream AND now.tenant = e.tenant
    CROSS JOIN LATERAL (SELECT CASE
        WHEN past.fingerprint = e.fingerprint THEN 'repeated'
        WHEN past.fingerprint IS NOT NULL THEN 'mismatch'
        WHEN coalesce(now.version, 0) <> e.expected_version
            OR coalesce(now.chain, decode(repeat('00', 32), 'hex')) <> e.expected_chain
            OR now.type <> e.type THEN 'conflict'
        END AS verdict) judged
    WHERE judged.verdict IS NOT NULL;
END $$;

-- Sees to it that there are ranges up to the partition's clock and half a range beyond. While that half is free somebody else's
-- lock on the table is not waited for: the next group will try again.
CREATE FUNCTION log.make_room(of_partition integer) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    clock log.clock;
BEGIN
    LOOP
        SELECT * INTO clock FROM log.clock c WHERE c.partition = of_partition;
        EXIT WHEN clock.position + clock.range_size / 2 <= clock.room;
        IF clock.position <= clock.room THEN
            BEGIN
                LOCK TABLE log.events IN SHARE UPDATE EXCLUSIVE MODE NOWAIT;
            EXCEPTION WHEN lock_not_available THEN
                RETURN;
            END;
        END IF;
        PERFORM log.make_range(of_partition);
    END LOOP;
END $$;

-- A stream's events in order.
DROP FUNCTION log.load;
CREATE FUNCTION log.load(at_partition integer, of_tenant uuid, of_type text, of_stream uuid)
    RETURNS TABLE (id uuid, version bigint, "position" bigint, chain bytea, event_type text, event_version integer, payload json)
    LANGUAGE plpgsql
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
    AS $$
#variable_conflict use_column
DECLARE
    first bigint;
    last bigint;
BEGIN
    PERFORM set_config('agentworks.tenant', of_tenant::text, true);
    SELECT s.first_position, s.position INTO first, last
    FROM log.streams s WHERE s.stream = of_stream AND s.tenant = of_tenant AND s.type = of_type;
    RETURN QUERY
    SELECT e.id, e.version, e.position, e.chain, e.event_type, e.event_version, e.payload
    FROM log.events e
    WHERE e.partition = at_partition AND e.position BETWEEN first AND last AND e.stream = of_stream AND e.tenant = of_tenant
    ORDER BY e.version;
END $$;
GRANT EXECUTE ON FUNCTION log.load TO agentworks_app;
