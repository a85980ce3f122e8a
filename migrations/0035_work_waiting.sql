-- Why a run waits. Owner: workers/src/jobs. Requests may ask it of the runs of their transaction's tenant; of other lanes it
-- tells no more than whether one of them comes first.

CREATE FUNCTION work.waiting(runs uuid[])
    RETURNS TABLE (
        run uuid, reason text, ahead integer, since timestamptz, until timestamptz, run_limit integer, under_way integer
    )
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
    SELECT job.run,
        CASE
            WHEN job.due_at > now() THEN 'not_due'
            WHEN lane.paused_at IS NOT NULL THEN 'paused'
            WHEN lane.running >= lane.run_limit THEN 'limit'
            WHEN NOT EXISTS (SELECT FROM work.workers WHERE seen_at > now() - interval '30 seconds') THEN 'no_worker'
            WHEN before.jobs > 0 THEN 'order'
            WHEN EXISTS (SELECT FROM work.lanes other
                         WHERE other.open AND (other.vtime, other.tenant) < (lane.vtime, lane.tenant)) THEN 'share'
            ELSE 'environment'
        END,
        before.jobs,
        job.queued_at,
        CASE WHEN job.due_at > now() THEN job.due_at END,
        lane.run_limit,
        lane.running
    FROM work.jobs job
    JOIN work.lanes lane ON lane.tenant = job.tenant
    CROSS JOIN LATERAL (
        SELECT count(*)::integer AS jobs FROM work.jobs other
        WHERE other.tenant = job.tenant AND other.ready AND other.run <> job.run
          AND (job.due_at > now() OR (-other.priority, other.due_at, other.run) < (-job.priority, job.due_at, job.run))
    ) before
    WHERE job.run = ANY (runs) AND job.tenant = (SELECT log.tenant()) AND job.holder IS NULL
$$;
GRANT USAGE ON SCHEMA work TO agentworks_app;
GRANT EXECUTE ON FUNCTION work.waiting(uuid[]) TO agentworks_app;
