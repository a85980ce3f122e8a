-- What is done to the queue (0033): each function changes jobs and the counts of their lanes together.
-- Owner: workers/src/jobs; a model of the choice in plain Rust is in workers/src/jobs/model.rs.
--
-- The choice is start-time fair queueing. A claim charges the lane's virtual time with the estimate of a job, and the end
-- of the job replaces that by what it has cost. A lane that opens begins no earlier than the lane that is next at present,
-- so that nobody saves up a claim on the workers by being idle, paused or at a limit.
--
-- The commit of a claim, and of its end, does not wait for the disk: the log says what has really happened to a run, and a
-- job that is back where it was is put right from there (workers/src/jobs/reaper.rs).

-- Where a lane that opens begins: where the open lane is that comes next; when there is none, where the furthest of the
-- others is, so that all begin equal.
CREATE FUNCTION work.present(besides uuid) RETURNS bigint
    LANGUAGE sql STABLE
    AS $$
    SELECT coalesce(
        (SELECT vtime FROM work.lanes WHERE open AND tenant <> besides ORDER BY vtime, tenant LIMIT 1),
        (SELECT vtime FROM work.lanes WHERE NOT open AND tenant <> besides ORDER BY vtime DESC, tenant DESC LIMIT 1))
$$;

-- Locks lanes, in the one order in which all do who lock several, and makes those that are not there yet.
CREATE FUNCTION work.lock_lanes(tenants uuid[]) RETURNS void
    LANGUAGE sql
    AS $$
    INSERT INTO work.lanes (tenant, run_limit)
    SELECT DISTINCT tenant, run_limit FROM unnest(tenants) tenant, work.queue ORDER BY tenant
    ON CONFLICT DO NOTHING;
    SELECT FROM work.lanes WHERE tenant = ANY (tenants) ORDER BY tenant FOR UPDATE;
$$;

-- Changes a lane that is locked: so many more jobs are ready, and `done` jobs are not under way any more, which were charged
-- `charged` (virtual time) and have cost `spent` (microseconds of environment).
CREATE FUNCTION work.shift(lane uuid, more_ready integer, done integer, charged bigint, spent bigint) RETURNS void
    LANGUAGE sql
    AS $$
    UPDATE work.lanes
    SET ready = ready + more_ready,
        running = running - done,
        estimate = CASE WHEN done = 0 THEN estimate
                        ELSE greatest(1, estimate + (spent / done - estimate) * least(done, 8) / 8) END,
        vtime = greatest(vtime - charged + spent / weight,
                         CASE WHEN NOT open AND work.is_open(paused_at, ready + more_ready, running - done, run_limit)
                              THEN work.present(tenant) END)
    WHERE tenant = lane
$$;

-- What a held job has cost so far, in microseconds of environment.
CREATE FUNCTION work.spent(job work.jobs) RETURNS bigint
    LANGUAGE sql STABLE
    RETURN greatest(0, (extract(epoch FROM now() - (job).claimed_at) * 1000000)::bigint);

-- Puts a run into the queue. Once more changes nothing.
CREATE FUNCTION work.enqueue(
    of_tenant uuid, of_run uuid, of_project uuid, of_correlation uuid, of_causation uuid, of_traceparent text
) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM work.lock_lanes(ARRAY[of_tenant]);
    INSERT INTO work.jobs (tenant, run, project, attempt, ready, correlation, causation, traceparent)
    VALUES (of_tenant, of_run, of_project, 1, true, of_correlation, of_causation, of_traceparent)
    ON CONFLICT (run) DO NOTHING;
    IF FOUND THEN
        PERFORM work.shift(of_tenant, 1, 0, 0, 0);
    END IF;
END $$;

-- Makes jobs ready that have become due, and says whether there were any. Lanes that are locked can wait for the next time.
CREATE FUNCTION work.promote() RETURNS boolean
    LANGUAGE plpgsql
    SET enable_seqscan = off SET jit = off
    AS $$
DECLARE
    due    uuid[];
    lane   uuid;
    became integer;
    any_did boolean := false;
BEGIN
    due := ARRAY(SELECT run FROM work.jobs WHERE holder IS NULL AND NOT ready AND due_at <= now() ORDER BY due_at LIMIT 1000);
    IF due = '{}' THEN
        RETURN false;
    END IF;
    FOR lane IN
        SELECT tenant FROM work.lanes WHERE tenant IN (SELECT tenant FROM work.jobs WHERE run = ANY (due))
        ORDER BY tenant FOR UPDATE SKIP LOCKED
    LOOP
        UPDATE work.jobs SET ready = true WHERE run = ANY (due) AND tenant = lane AND holder IS NULL AND NOT ready AND due_at <= now();
        GET DIAGNOSTICS became = ROW_COUNT;
        PERFORM work.shift(lane, became, 0, 0, 0);
        any_did := true;
    END LOOP;
    RETURN any_did;
END $$;

-- Claims up to as many jobs as there are `environments`, in the order in which they are to start.
--
-- The jobs of a lane begin at its virtual time and then a step each further on, and those that begin first come first. So no
-- more lanes are looked at than jobs are wanted. Lanes that somebody else has locked are left to him: nothing is waited for
-- here, where locks are held.
CREATE FUNCTION work.claim(claimer uuid, environments uuid[], lease interval) RETURNS SETOF work.jobs
    LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
    AS $$
DECLARE
    wanted  integer := cardinality(environments);
    tenants uuid[];
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM work.promote();
    tenants := ARRAY(SELECT tenant FROM work.lanes WHERE open ORDER BY vtime, tenant LIMIT wanted FOR UPDATE SKIP LOCKED);
    RETURN QUERY
        WITH lane AS MATERIALIZED (
            SELECT tenant, vtime, greatest(1, estimate / weight) AS step, least(ready, run_limit - running, wanted) AS room
            FROM work.lanes WHERE tenant = ANY (tenants)),
        share AS MATERIALIZED (
            SELECT tenant, vtime, step, count(*)::integer AS jobs
            FROM (SELECT * FROM lane, generate_series(1::bigint, room) number
                  ORDER BY vtime + (number - 1) * step, tenant LIMIT wanted) pick
            GROUP BY tenant, vtime, step),
        next AS MATERIALIZED (
            SELECT run, step, row_number() OVER (ORDER BY vtime + (number - 1) * step, tenant) AS turn
            FROM share CROSS JOIN LATERAL (
                SELECT run, row_number() OVER (ORDER BY priority DESC, due_at, run) AS number
                FROM work.jobs WHERE tenant = share.tenant AND ready
                ORDER BY priority DESC, due_at, run LIMIT share.jobs) first),
        charged AS (
            UPDATE work.lanes SET ready = ready - jobs, running = running + jobs, vtime = lanes.vtime + jobs * step
            FROM share WHERE lanes.tenant = share.tenant),
        claimed AS (
            UPDATE work.jobs job
            SET ready = false, holder = claimer, environment = environments[turn], lease_until = now() + lease,
                pod_seen_at = NULL, claimed_at = now(), charge = step
            FROM next WHERE job.run = next.run
            RETURNING job, turn)
        SELECT (claimed.job).* FROM claimed ORDER BY turn;
END $$;

-- Waits until nobody has the open lane locked that comes next; whether there is one. In a transaction of its own, and for one
-- lane only: who waits holds nothing that another waits for.
CREATE FUNCTION work.await_lane() RETURNS boolean
    LANGUAGE plpgsql
    SET enable_seqscan = off SET jit = off
    AS $$
DECLARE
    lane uuid := (SELECT tenant FROM work.lanes WHERE open ORDER BY vtime, tenant LIMIT 1);
BEGIN
    PERFORM FROM work.lanes WHERE tenant = lane FOR UPDATE;
    RETURN lane IS NOT NULL;
END $$;

-- Puts a job back into its lane for `next_attempt`, due after `delay`. Either an attempt was lost (no environment is named,
-- and a job that is there already or further on stays), or the claim with that environment is given back.
CREATE FUNCTION work.put_back(of_tenant uuid, of_run uuid, of_environment uuid, next_attempt integer, delay interval) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    job  work.jobs;
    held integer;
BEGIN
    PERFORM work.lock_lanes(ARRAY[of_tenant]);
    SELECT * INTO job FROM work.jobs
    WHERE tenant = of_tenant AND run = of_run AND NOT ended
      AND CASE WHEN of_environment IS NULL THEN attempt < next_attempt ELSE environment = of_environment END;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    UPDATE work.jobs
    SET attempt = next_attempt, environment = NULL, holder = NULL, lease_until = NULL, pod_seen_at = NULL, claimed_at = NULL,
        charge = 0, ready = delay <= interval '0',
        queued_at = CASE WHEN attempt = next_attempt THEN queued_at ELSE now() END,
        due_at = CASE WHEN attempt = next_attempt THEN due_at ELSE now() END + delay
    WHERE run = of_run;
    held := (job.holder IS NOT NULL)::integer;
    PERFORM work.shift(of_tenant, (delay <= interval '0')::integer - job.ready::integer, held, job.charge,
                       held * coalesce(work.spent(job), 0));
END $$;

-- Takes a run that has ended out of the queue. A job that is held counts no longer, and stays until it is finished.
CREATE FUNCTION work.end_run(of_tenant uuid, of_run uuid) RETURNS void
    LANGUAGE plpgsql
    AS $$
DECLARE
    job work.jobs;
BEGIN
    PERFORM work.lock_lanes(ARRAY[of_tenant]);
    SELECT * INTO job FROM work.jobs WHERE tenant = of_tenant AND run = of_run AND NOT ended;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF job.holder IS NULL THEN
        DELETE FROM work.jobs WHERE run = of_run;
        PERFORM work.shift(of_tenant, -job.ready::integer, 0, 0, 0);
    ELSE
        UPDATE work.jobs SET ended = true WHERE run = of_run;
        PERFORM work.shift(of_tenant, 0, 1, job.charge, work.spent(job));
    END IF;
END $$;

-- Deletes jobs whose environment has ended, each if it is still that claim's.
CREATE FUNCTION work.finish(tenants uuid[], runs uuid[], environments uuid[]) RETURNS void
    LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off
    AS $$
DECLARE
    lane record;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM work.lock_lanes(tenants);
    FOR lane IN
        WITH gone AS (
            DELETE FROM work.jobs job USING unnest(tenants, runs, environments) held (tenant, run, environment)
            WHERE job.run = held.run AND job.tenant = held.tenant AND job.environment = held.environment
            RETURNING job.tenant, charge, work.spent(job) AS spent, ended)
        SELECT tenant, count(*)::integer AS jobs, sum(charge)::bigint AS charge, sum(spent)::bigint AS spent
        FROM gone WHERE NOT ended GROUP BY tenant
    LOOP
        PERFORM work.shift(lane.tenant, 0, lane.jobs, lane.charge, lane.spent);
    END LOOP;
END $$;

-- Empties the queue, to be filled again from the log.
CREATE FUNCTION work.clear() RETURNS void
    LANGUAGE sql
    AS $$
    SELECT FROM work.lanes ORDER BY tenant FOR UPDATE;
    DELETE FROM work.jobs;
    UPDATE work.lanes SET ready = 0, running = 0 WHERE ready > 0 OR running > 0;
$$;

-- Sets how many runs a tenant may have under way, where its lane says nothing else.
CREATE FUNCTION work.set_limit(wanted integer) RETURNS void
    LANGUAGE sql
    AS $$
    UPDATE work.queue SET run_limit = wanted WHERE run_limit <> wanted;
    SELECT FROM work.lanes WHERE run_limit <> coalesce(own_limit, wanted) ORDER BY tenant FOR UPDATE;
    UPDATE work.lanes
    SET run_limit = coalesce(own_limit, wanted),
        vtime = greatest(vtime, CASE WHEN NOT open AND work.is_open(paused_at, ready, running, coalesce(own_limit, wanted))
                                     THEN work.present(tenant) END)
    WHERE run_limit <> coalesce(own_limit, wanted);
$$;

-- Lets nothing of a tenant start, or lets it start again. Whether that was a change.
CREATE FUNCTION work.pause(of_tenant uuid, wanted boolean) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM work.lock_lanes(ARRAY[of_tenant]);
    UPDATE work.lanes
    SET paused_at = CASE WHEN wanted THEN now() END,
        vtime = greatest(vtime, CASE WHEN NOT wanted AND work.is_open(NULL, ready, running, run_limit) THEN work.present(tenant) END)
    WHERE tenant = of_tenant AND (paused_at IS NOT NULL) <> wanted;
    RETURN FOUND;
END $$;

-- Puts a waiting run before all others of its tenant. Whether there is such a run.
CREATE FUNCTION work.put_first(of_run uuid) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
DECLARE
    lane uuid := (SELECT tenant FROM work.jobs WHERE run = of_run);
BEGIN
    PERFORM work.lock_lanes(ARRAY[lane]) WHERE lane IS NOT NULL;
    UPDATE work.jobs
    SET priority = (SELECT max(priority) FROM work.jobs WHERE tenant = lane AND holder IS NULL AND run <> of_run) + 1
    WHERE run = of_run AND holder IS NULL
      AND EXISTS (SELECT FROM work.jobs WHERE tenant = lane AND holder IS NULL AND run <> of_run);
    RETURN EXISTS (SELECT FROM work.jobs WHERE run = of_run AND holder IS NULL);
END $$;
