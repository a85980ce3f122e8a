-- What stands before the numbered migrations: the roles and the schemas. Run by `outbox::migrate` each time, as the
-- connecting user (a superuser, or the database's owner with CREATEROLE); it changes nothing when all is there.
--
--   agentworks_owner   owns every schema, table and function; runs the numbered migrations
--   agentworks_app     serves requests: executes log.append and log.load, reads under row-level security
--   agentworks_worker  projections, relay, jobs: reads the whole log, writes what is derived from it, never the log
DO $$
DECLARE
    wanted text;
BEGIN
    -- One at a time in this database.
    PERFORM pg_advisory_xact_lock(hashtextextended('agentworks roles and schemas', 0));

    FOREACH wanted IN ARRAY ARRAY['agentworks_owner', 'agentworks_app', 'agentworks_worker'] LOOP
        -- Roles belong to the whole server: another database of it may be migrating at this very moment.
        FOR attempt IN 1..20 LOOP
            BEGIN
                IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
                    EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
                END IF;
                IF NOT pg_has_role(current_user, wanted, 'MEMBER') THEN
                    EXECUTE format('GRANT %I TO CURRENT_USER', wanted);
                END IF;
                EXIT;
            EXCEPTION WHEN duplicate_object OR unique_violation OR internal_error THEN
                IF attempt = 20 THEN
                    RAISE;
                END IF;
                PERFORM pg_sleep(0.05);
            END;
        END LOOP;
    END LOOP;

    FOREACH wanted IN ARRAY ARRAY['log', 'read', 'work', 'vault'] LOOP
        IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = wanted) THEN
            EXECUTE format('CREATE SCHEMA %I AUTHORIZATION agentworks_owner', wanted);
        END IF;
    END LOOP;

    -- Each generation of a read model is a schema of its own.
    IF NOT has_database_privilege('agentworks_owner', current_database(), 'CREATE') THEN
        EXECUTE format('GRANT CREATE ON DATABASE %I TO agentworks_owner', current_database());
    END IF;
END $$;
