-- outbox: where a tenant's events are. Their trees know, up to where the consumer `evidence` has come; behind that the log
-- itself is looked through. So appends need not keep an index by tenant, which was the dearest of all: a group is of nearly
-- as many tenants as appends, and each has its own place in such an index.
DROP INDEX log.events_by_tenant;

-- The positions of the tenant's events after one and up to another, in order: `most` of them, fewer only where there are no
-- more. Those of archived ranges are left out. All of it in one snapshot, the caller's.
CREATE FUNCTION log.tenant_positions(at_partition integer, of_tenant uuid, after bigint, upto bigint, most bigint)
    RETURNS bigint[]
    LANGUAGE plpgsql STABLE
    SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_generic_plan
    SET enable_seqscan = off
    AS $$
DECLARE
    start bigint := greatest(after, (SELECT max(r.last) FROM log.ranges r WHERE r.partition = at_partition AND r.state = 'archived'));
    -- Up to here the trees have all that is not skipped.
    covered bigint := coalesce(least(
        (SELECT c.position FROM log.consumers c WHERE c.name = 'evidence' AND c.partition = at_partition),
        (SELECT p.position - 1 FROM log.parked p WHERE p.consumer = 'evidence' AND p.tenant = of_tenant)), 0);
    first_tile bigint := coalesce((SELECT t.tile FROM log.tree_tiles t
        WHERE t.tenant = of_tenant AND t.level = 0 AND t.positions[1] <= start + 1 ORDER BY t.positions[1] DESC LIMIT 1), 0);
    found bigint[];
BEGIN
    found := ARRAY(
        SELECT known.position FROM (
            SELECT unnest(tiles.positions) AS position FROM (
                SELECT t.positions FROM log.tree_tiles t WHERE t.tenant = of_tenant AND t.level = 0 AND t.tile >= first_tile
                ORDER BY t.tile LIMIT most / 256 + 2) tiles
            UNION ALL SELECT e.position FROM log.tree_ends e WHERE e.tenant = of_tenant AND e.level = 0
            -- What was skipped may have come into the tree all the same, when it could be applied after all.
            UNION SELECT s.position FROM log.skipped s WHERE s.consumer = 'evidence' AND s.tenant = of_tenant
        ) known
        WHERE known.position > start AND known.position <= least(upto, covered)
        ORDER BY known.position LIMIT most);
    IF cardinality(found) < most AND covered < upto THEN
        found := found || ARRAY(
            SELECT e.position FROM log.events e
            WHERE e.partition = at_partition AND e.position > greatest(start, covered) AND e.position <= upto AND e.tenant = of_tenant
            ORDER BY e.position LIMIT most - cardinality(found));
    END IF;
    RETURN found;
END $$;
GRANT EXECUTE ON FUNCTION log.tenant_positions TO agentworks_app, agentworks_worker;
