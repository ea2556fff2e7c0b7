-- +goose Up

-- One import by a mapping at a time, whoever begins it.
CREATE UNIQUE INDEX operations_one_import ON tenantctl.operations ((params ->> 'import')) WHERE kind = 'import' AND parent_id IS NULL AND state = 'running';

CREATE TABLE tenantctl.imports (
    name       text PRIMARY KEY,
    run        uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN tenantctl.imports.run IS 'the operation that last worked on it';

-- Whose the rows of a key are: it stays so when the tenant is renamed.
CREATE TABLE tenantctl.import_keys (
    import    text NOT NULL REFERENCES tenantctl.imports ON DELETE CASCADE,
    key       text NOT NULL,
    tenant_id uuid NOT NULL REFERENCES tenantctl.tenants ON DELETE CASCADE,
    PRIMARY KEY (import, key)
);
CREATE INDEX import_keys_tenant ON tenantctl.import_keys (tenant_id);

-- A pass over a source table that is not over yet.
CREATE TABLE tenantctl.import_passes (
    import     text NOT NULL REFERENCES tenantctl.imports ON DELETE CASCADE,
    target     text NOT NULL,
    mapping    text NOT NULL,
    scope      text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (import, target)
);
COMMENT ON COLUMN tenantctl.import_passes.mapping IS 'checksum of the table''s mapping: a pass is not gone on with by another';

-- The checkpoints of a pass, written in the transactions that load the rows.
CREATE TABLE tenantctl.import_parts (
    import   text NOT NULL,
    target   text NOT NULL,
    part     text NOT NULL,
    position text NOT NULL DEFAULT '',
    done     boolean NOT NULL,
    PRIMARY KEY (import, target, part),
    FOREIGN KEY (import, target) REFERENCES tenantctl.import_passes ON DELETE CASCADE
);

-- What has been loaded: a tenant's rows are there once whole is true.
CREATE TABLE tenantctl.import_loads (
    import    text NOT NULL REFERENCES tenantctl.imports ON DELETE CASCADE,
    target    text NOT NULL,
    tenant_id uuid REFERENCES tenantctl.tenants ON DELETE CASCADE,
    loaded    bigint NOT NULL DEFAULT 0,
    rejected  bigint NOT NULL DEFAULT 0,
    whole     boolean NOT NULL DEFAULT false,
    UNIQUE (import, target, tenant_id)
);
CREATE UNIQUE INDEX import_loads_of_nobody ON tenantctl.import_loads (import, target) WHERE tenant_id IS NULL;
COMMENT ON COLUMN tenantctl.import_loads.tenant_id IS 'NULL counts rows that are no tenant''s';

CREATE TABLE tenantctl.import_rejects (
    id          bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    import      text NOT NULL REFERENCES tenantctl.imports ON DELETE CASCADE,
    target      text NOT NULL,
    tenant_id   uuid REFERENCES tenantctl.tenants ON DELETE CASCADE,
    tenant_key  text,
    row_key     text NOT NULL,
    code        text NOT NULL,
    reason      text NOT NULL,
    original    text,
    checksum    numeric,
    at          timestamptz NOT NULL DEFAULT now(),
    resolved_at timestamptz,
    loaded_key  text
);
CREATE INDEX import_rejects_target ON tenantctl.import_rejects (import, target, tenant_id);
CREATE INDEX import_rejects_tenant ON tenantctl.import_rejects (tenant_id);
COMMENT ON COLUMN tenantctl.import_rejects.original IS 'the source''s row as JSON; NULL where it was too long to keep';
COMMENT ON COLUMN tenantctl.import_rejects.loaded_key IS 'of the row that was loaded after it was mended: it may be another than row_key';
COMMENT ON COLUMN tenantctl.import_rejects.checksum IS 'of the row; NULL where its values do not fit the target''s types';

-- What has to be put back after the load: indexes, constraints and triggers that it took away.
CREATE TABLE tenantctl.import_undo (
    id        bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    import    text NOT NULL REFERENCES tenantctl.imports ON DELETE CASCADE,
    target    text NOT NULL,
    tenant_id uuid REFERENCES tenantctl.tenants ON DELETE CASCADE,
    kind      text NOT NULL CHECK (kind IN ('index', 'foreign key', 'trigger')),
    name      text NOT NULL,
    statement text NOT NULL
);
CREATE INDEX import_undo_tenant ON tenantctl.import_undo (tenant_id);

-- +goose Down
DROP TABLE tenantctl.import_undo, tenantctl.import_rejects, tenantctl.import_loads, tenantctl.import_parts, tenantctl.import_passes, tenantctl.import_keys, tenantctl.imports;
DROP INDEX tenantctl.operations_one_import;
