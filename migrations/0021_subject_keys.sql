-- outbox: the keys of data subjects. What people say about people is sealed under one of these before it comes into any
-- other table; a key itself is sealed under the installation's master key, which is no part of the database. Erasing a
-- person destroys the key and leaves the row, so that no second key can ever be made for them.
CREATE TABLE vault.subject_keys (
    tenant    uuid NOT NULL,
    subject   uuid NOT NULL,
    key_id    text, -- which master key sealed it, for rotation
    nonce     bytea CHECK (octet_length(nonce) = 12),
    sealed    bytea, -- AES-256-GCM over the key; tenant and subject are authenticated with it
    name      text, -- what the person is called, sealed under the key itself
    kept_at   timestamptz NOT NULL DEFAULT now(),
    erased_at timestamptz,
    -- Whether the table was rewritten since, so that no file of it has the key any more.
    purged    boolean NOT NULL DEFAULT false,
    PRIMARY KEY (tenant, subject),
    CHECK (CASE WHEN erased_at IS NULL THEN num_nulls(key_id, nonce, sealed) = 0 AND NOT purged
                ELSE num_nonnulls(key_id, nonce, sealed, name) = 0 END)
);
CREATE INDEX subjects_to_purge ON vault.subject_keys (erased_at) WHERE erased_at IS NOT NULL AND NOT purged;

SELECT log.protect('vault.subject_keys');
CREATE POLICY keep ON vault.subject_keys FOR INSERT TO agentworks_app
    WITH CHECK (tenant = (SELECT log.tenant()) AND erased_at IS NULL);
CREATE POLICY name ON vault.subject_keys FOR UPDATE TO agentworks_app
    USING (tenant = (SELECT log.tenant()) AND erased_at IS NULL) WITH CHECK (erased_at IS NULL);
GRANT INSERT, UPDATE (name) ON vault.subject_keys TO agentworks_app;

-- A subject's key: the one that is kept, else the given one, which is kept from now on. No key: the subject is erased.
CREATE FUNCTION vault.subject_key(of_tenant uuid, of_subject uuid, new_key_id text, new_nonce bytea, new_sealed bytea)
    RETURNS TABLE (key_id text, nonce bytea, sealed bytea, name text)
    LANGUAGE plpgsql
    AS $$
#variable_conflict use_column
BEGIN
    PERFORM set_config('agentworks.tenant', of_tenant::text, true);
    INSERT INTO vault.subject_keys (tenant, subject, key_id, nonce, sealed)
        VALUES (of_tenant, of_subject, new_key_id, new_nonce, new_sealed) ON CONFLICT (tenant, subject) DO NOTHING;
    RETURN QUERY SELECT k.key_id, k.nonce, k.sealed, k.name FROM vault.subject_keys k
        WHERE k.tenant = of_tenant AND k.subject = of_subject;
END $$;

-- Keeps what a subject is called, unless that is known or it is erased.
CREATE FUNCTION vault.name_subject(of_tenant uuid, of_subject uuid, sealed_name text) RETURNS void
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM set_config('agentworks.tenant', of_tenant::text, true);
    UPDATE vault.subject_keys SET name = sealed_name
        WHERE tenant = of_tenant AND subject = of_subject AND erased_at IS NULL AND name IS NULL;
END $$;

-- Destroys a subject's key, once; says whether there was one. As the owner: who destroys need not be able to read. Requests
-- do so in their own tenant only.
CREATE FUNCTION vault.erase_subject(of_tenant uuid, of_subject uuid) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF current_setting('role') = 'agentworks_app' AND log.tenant() IS DISTINCT FROM of_tenant THEN
        RAISE EXCEPTION 'the transaction is not of this tenant' USING ERRCODE = 'insufficient_privilege';
    END IF;
    INSERT INTO vault.subject_keys AS k (tenant, subject, erased_at) VALUES (of_tenant, of_subject, now())
        ON CONFLICT (tenant, subject) DO UPDATE
        SET key_id = NULL, nonce = NULL, sealed = NULL, name = NULL, erased_at = now() WHERE k.erased_at IS NULL;
    RETURN FOUND;
END $$;

GRANT EXECUTE ON FUNCTION vault.subject_key, vault.name_subject, vault.erase_subject TO agentworks_app;
GRANT USAGE ON SCHEMA vault TO agentworks_worker;
GRANT EXECUTE ON FUNCTION vault.erase_subject TO agentworks_worker;
