-- command-api: the vault. Secrets of tenants (model vendors' keys, repository credentials), sealed before they come
-- here. The key that seals them is a file beside the processes and never in the database.
REVOKE ALL ON SCHEMA vault FROM PUBLIC;
GRANT USAGE ON SCHEMA vault TO agentworks_app;

CREATE TABLE vault.secrets (
    tenant uuid NOT NULL,
    secret uuid NOT NULL,
    key_id text NOT NULL, -- which master key sealed it, for rotation
    nonce bytea NOT NULL CHECK (octet_length(nonce) = 12),
    sealed bytea NOT NULL, -- AES-256-GCM over the secret; tenant and secret id are authenticated with it
    stored_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, secret)
);

-- Without a tenant set for the transaction there are no rows, and none can be written. A secret is never changed: a
-- new one has a new id. The workers' role holds no grant here: whoever opens a secret names the tenant.
SELECT log.protect('vault.secrets');
CREATE POLICY put ON vault.secrets FOR INSERT TO agentworks_app WITH CHECK (tenant = (SELECT log.tenant()));
GRANT INSERT ON vault.secrets TO agentworks_app;
