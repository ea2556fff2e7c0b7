-- +goose Up

CREATE TABLE tenantctl.tenants (
    id            uuid PRIMARY KEY,
    name          text NOT NULL UNIQUE,
    state         text NOT NULL CHECK (state IN ('provisioning', 'active', 'suspended', 'deleting', 'deleted', 'failed')),
    schema_name   text NOT NULL UNIQUE,
    database_name text NOT NULL UNIQUE,
    role_name     text NOT NULL UNIQUE,
    labels        jsonb NOT NULL DEFAULT '{}',
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    purge_after   timestamptz
);
COMMENT ON COLUMN tenantctl.tenants.schema_name IS 'exact, as given when the tenant was made; renaming changes name alone';

CREATE TABLE tenantctl.domains (
    domain    text PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenantctl.tenants ON DELETE CASCADE,
    position  integer NOT NULL
);
CREATE INDEX domains_tenant ON tenantctl.domains (tenant_id);

-- What each store was last seen at: a cache of the version books inside the stores, written together with them.
CREATE TABLE tenantctl.versions (
    tenant_id   uuid NOT NULL REFERENCES tenantctl.tenants ON DELETE CASCADE,
    kind        text NOT NULL,
    version     bigint NOT NULL,
    applied     integer NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, kind)
);

CREATE TABLE tenantctl.operations (
    id          uuid PRIMARY KEY,
    kind        text NOT NULL,
    parent_id   uuid REFERENCES tenantctl.operations ON DELETE CASCADE,
    tenant_id   uuid,
    tenant_name text,
    state       text NOT NULL CHECK (state IN ('pending', 'running', 'undoing', 'stuck', 'done', 'undone', 'failed', 'aborted')),
    params      jsonb NOT NULL DEFAULT '{}',
    result      jsonb,
    error       jsonb,
    actor       text NOT NULL,
    owner       text NOT NULL,
    fence       bigint NOT NULL DEFAULT 1,
    lease_until timestamptz,
    created_at  timestamptz NOT NULL DEFAULT now(),
    started_at  timestamptz,
    finished_at timestamptz
);
COMMENT ON COLUMN tenantctl.operations.fence IS 'raised at each take-over, so that late writes of the old owner fail';
CREATE UNIQUE INDEX operations_one_live ON tenantctl.operations (tenant_id) WHERE state IN ('running', 'undoing', 'stuck');
CREATE INDEX operations_parent ON tenantctl.operations (parent_id, state);
CREATE INDEX operations_owner ON tenantctl.operations (owner) WHERE state IN ('running', 'undoing');
CREATE INDEX operations_tenant ON tenantctl.operations (tenant_id, id);

CREATE TABLE tenantctl.steps (
    operation_id uuid NOT NULL REFERENCES tenantctl.operations ON DELETE CASCADE,
    position     integer NOT NULL,
    name         text NOT NULL,
    state        text NOT NULL CHECK (state IN ('started', 'done', 'failed', 'undone')),
    error        text,
    started_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at  timestamptz,
    PRIMARY KEY (operation_id, position)
);

CREATE TABLE tenantctl.audit (
    id           bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor        text NOT NULL,
    origin       text NOT NULL,
    action       text NOT NULL,
    tenant_id    uuid,
    tenant_name  text,
    operation_id uuid,
    detail       jsonb NOT NULL DEFAULT '{}'
);
COMMENT ON COLUMN tenantctl.audit.origin IS 'host and process that made the change';
CREATE INDEX audit_tenant ON tenantctl.audit (tenant_id, id);

CREATE TABLE tenantctl.migration_files (
    kind             text NOT NULL,
    version          bigint NOT NULL,
    name             text NOT NULL,
    checksum         text NOT NULL,
    first_applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, version)
);
COMMENT ON TABLE tenantctl.migration_files IS 'what each file held when it was first applied';

-- +goose StatementBegin
CREATE FUNCTION tenantctl.hold(op uuid, held bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    -- KEY SHARE lets heartbeats through and makes a take-over, which locks FOR UPDATE, wait for this transaction.
    PERFORM 1 FROM tenantctl.operations
        WHERE id = op AND fence = held AND state IN ('running', 'undoing') FOR KEY SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'operation % was taken over', op USING ERRCODE = 'TC001';
    END IF;
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION tenantctl.record(tenant uuid, store text, at bigint, count integer) RETURNS void LANGUAGE sql AS $$
    INSERT INTO tenantctl.versions AS v (tenant_id, kind, version, applied) VALUES (tenant, store, at, count)
        ON CONFLICT (tenant_id, kind) DO UPDATE SET version = at, applied = count, recorded_at = now()
        WHERE (v.version, v.applied) IS DISTINCT FROM (at, count)
$$;
-- +goose StatementEnd

-- +goose Down
DROP FUNCTION tenantctl.record, tenantctl.hold;
DROP TABLE tenantctl.migration_files, tenantctl.audit, tenantctl.steps, tenantctl.operations, tenantctl.versions, tenantctl.domains, tenantctl.tenants;
