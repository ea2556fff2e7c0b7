-- +goose Up

ALTER TABLE tenantctl.operations ADD COLUMN wave integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN tenantctl.operations.wave IS 'of a run''s part: the wave that it belongs to, from 1; 0 where the run has no waves';

-- Both are called in every tenant's transaction, whose search_path is another each time: with one of their own they keep their plans.
ALTER FUNCTION tenantctl.hold SET search_path = pg_catalog, pg_temp;

-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tenantctl.record(tenant uuid, store text, at bigint, count integer) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO tenantctl.versions AS v (tenant_id, kind, version, applied) VALUES (tenant, store, at, count)
        ON CONFLICT (tenant_id, kind) DO UPDATE SET version = at, applied = count, recorded_at = now()
        WHERE (v.version, v.applied) IS DISTINCT FROM (at, count);
END $$;
-- +goose StatementEnd

-- +goose Down
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tenantctl.record(tenant uuid, store text, at bigint, count integer) RETURNS void LANGUAGE sql AS $$
    INSERT INTO tenantctl.versions AS v (tenant_id, kind, version, applied) VALUES (tenant, store, at, count)
        ON CONFLICT (tenant_id, kind) DO UPDATE SET version = at, applied = count, recorded_at = now()
        WHERE (v.version, v.applied) IS DISTINCT FROM (at, count)
$$;
-- +goose StatementEnd
ALTER FUNCTION tenantctl.record RESET search_path;
ALTER FUNCTION tenantctl.hold RESET search_path;
ALTER TABLE tenantctl.operations DROP COLUMN wave;
