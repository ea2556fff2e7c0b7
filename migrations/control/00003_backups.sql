-- +goose Up

-- Backups that are whole, whether their tenant is still there or not. The manifest in the store is the truth; this is its index.
CREATE TABLE tenantctl.backups (
    id          uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL,
    tenant_name text NOT NULL,
    created_at  timestamptz NOT NULL,
    location    text NOT NULL,
    size        bigint NOT NULL,
    versions    jsonb NOT NULL,
    parts       jsonb NOT NULL,
    encrypted   boolean NOT NULL,
    own_key     boolean NOT NULL
);
CREATE INDEX backups_tenant ON tenantctl.backups (tenant_id, created_at);
CREATE INDEX backups_name ON tenantctl.backups (tenant_name, created_at);
COMMENT ON COLUMN tenantctl.backups.own_key IS 'encrypted with a key of the tenant''s own';
COMMENT ON COLUMN tenantctl.backups.tenant_name IS 'when it was made; the tenant may have another name now';

ALTER TABLE tenantctl.tenants ADD COLUMN deleted_from text CHECK (deleted_from IN ('active', 'suspended')), ADD COLUMN hold text,
    ADD COLUMN of uuid REFERENCES tenantctl.tenants ON DELETE SET NULL;
CREATE INDEX tenants_of ON tenantctl.tenants (of) WHERE of IS NOT NULL;
COMMENT ON COLUMN tenantctl.tenants.of IS 'whose data it is, of what a restore filled beside or put aside';
COMMENT ON COLUMN tenantctl.tenants.deleted_from IS 'the state that an undelete gives back';
COMMENT ON COLUMN tenantctl.tenants.hold IS 'why neither the tenant nor its backups may be taken away; NULL where they may';

-- What was taken away for good. It outlives the history of operations.
CREATE TABLE tenantctl.deletions (
    operation_id uuid PRIMARY KEY,
    tenant_id    uuid NOT NULL,
    tenant_name  text NOT NULL,
    at           timestamptz NOT NULL DEFAULT now(),
    record       jsonb NOT NULL
);
CREATE INDEX deletions_name ON tenantctl.deletions (tenant_name, at);

-- +goose Down
DROP TABLE tenantctl.deletions, tenantctl.backups;
ALTER TABLE tenantctl.tenants DROP COLUMN of, DROP COLUMN hold, DROP COLUMN deleted_from;
