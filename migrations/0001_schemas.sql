-- Who may do what in the schemas, and how a table comes under row-level security.
--   log   the truth; only log.append writes it
--   read  read models: agentworks_worker writes, agentworks_app reads its tenant's rows
--   work  jobs and process managers: agentworks_worker only
--   vault sealed secrets: agentworks_app, its tenant's alone

REVOKE ALL ON SCHEMA log, read, work FROM PUBLIC;
GRANT USAGE ON SCHEMA log, read TO agentworks_app, agentworks_worker;
GRANT USAGE ON SCHEMA work TO agentworks_worker;

ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA read GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO agentworks_worker;
ALTER DEFAULT PRIVILEGES IN SCHEMA read GRANT USAGE ON SEQUENCES TO agentworks_worker;
ALTER DEFAULT PRIVILEGES IN SCHEMA work GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO agentworks_worker;
ALTER DEFAULT PRIVILEGES IN SCHEMA work GRANT USAGE ON SEQUENCES TO agentworks_worker;
ALTER DEFAULT PRIVILEGES IN SCHEMA work GRANT EXECUTE ON FUNCTIONS TO agentworks_worker;

-- The tenant of this transaction. None set: NULL, which equals no row's tenant. STABLE and asked for in a sub-select,
-- so that it becomes an index condition.
CREATE FUNCTION log.tenant() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT nullif(current_setting('agentworks.tenant', true), '')::uuid $$;
GRANT EXECUTE ON FUNCTION log.tenant() TO agentworks_app, agentworks_worker;

-- Puts a table with a column `tenant uuid` under row-level security: agentworks_app may SELECT the rows of the
-- transaction's tenant, agentworks_worker sees every tenant's rows, the owner too. What else a role may do to the
-- table is said by grants, not here.
CREATE FUNCTION log.protect(protected regclass) RETURNS void
    LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = protected AND attname = 'tenant' AND atttypid = 'uuid'::regtype AND attnotnull) THEN
        RAISE EXCEPTION 'table % has no column "tenant uuid NOT NULL" to protect it by', protected;
    END IF;
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', protected);
    EXECUTE format('CREATE POLICY tenant ON %s FOR SELECT TO agentworks_app USING (tenant = (SELECT log.tenant()))', protected);
    EXECUTE format('CREATE POLICY worker ON %s TO agentworks_worker USING (true) WITH CHECK (true)', protected);
    EXECUTE format('CREATE POLICY owner ON %s TO agentworks_owner USING (true) WITH CHECK (true)', protected);
    EXECUTE format('GRANT SELECT ON %s TO agentworks_app', protected);
END $$;
