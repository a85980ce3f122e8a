-- Evidence: a Merkle log of each tenant's events, in order, and signed checkpoints of it. Owner: outbox/src/evidence.
-- The trees are derived from the log by the consumer `evidence` and can be built again; checkpoints are statements that
-- were made, and stay. The nil tenant's tree is the platform's log: one leaf a checkpoint of any tenant.

-- How far each tree is. `frontier`: the roots of its complete subtrees, from left to right, which is all that adding a
-- leaf needs. `signed`: the size of its newest checkpoint.
CREATE TABLE log.trees (
    tenant   uuid   PRIMARY KEY,
    size     bigint NOT NULL,
    frontier bytea  NOT NULL,
    signed   bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
CREATE INDEX trees_moved ON log.trees (tenant) WHERE size > signed;

-- The nodes of a tree, in tiles of 256. Level 0 holds what the leaves are made of (an event's digest, with its position;
-- in the platform's log the SHA-256 of a checkpoint), level n the root of each full tile of level n - 1.
CREATE TABLE log.tree_tiles (
    tenant    uuid     NOT NULL,
    level     smallint NOT NULL,
    tile      bigint   NOT NULL,
    positions bigint[] NOT NULL,
    hashes    bytea    NOT NULL CHECK (octet_length(hashes) = 256 * 32),
    PRIMARY KEY (tenant, level, tile)
);
CREATE INDEX tree_tiles_by_position ON log.tree_tiles (tenant, (positions[1])) WHERE level = 0;

-- The nodes whose tile is not full yet.
CREATE TABLE log.tree_ends (
    tenant   uuid     NOT NULL,
    level    smallint NOT NULL,
    index    bigint   NOT NULL,
    position bigint   NOT NULL,
    hash     bytea    NOT NULL CHECK (octet_length(hash) = 32),
    PRIMARY KEY (tenant, level, index)
);

-- `note`: the checkpoint as it was signed. `entry`: its leaf in the platform's log; NULL for the platform's own.
CREATE TABLE log.checkpoints (
    tenant  uuid        NOT NULL,
    size    bigint      NOT NULL,
    root    bytea       NOT NULL CHECK (octet_length(root) = 32),
    note    text        NOT NULL,
    entry   bigint      UNIQUE,
    made_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, size)
);

-- Every key that has ever signed.
CREATE TABLE log.evidence_keys (
    public   bytea       PRIMARY KEY CHECK (octet_length(public) = 32),
    added_at timestamptz NOT NULL DEFAULT now()
);

SELECT log.protect(tree::regclass)
FROM unnest(ARRAY['log.trees', 'log.tree_tiles', 'log.tree_ends', 'log.checkpoints']) AS tree;
GRANT SELECT, INSERT, UPDATE, DELETE ON log.trees, log.tree_tiles, log.tree_ends TO agentworks_worker;
GRANT SELECT, INSERT ON log.checkpoints, log.evidence_keys TO agentworks_worker;
