-- +goose Up

ALTER TABLE tenantctl.operations ADD COLUMN wave integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN tenantctl.operations.wave IS 'of a run''s part: the wave that it belongs to, from 1; 0 where the run has no waves';

ALTER TABLE tenantctl.steps DROP CONSTRAINT steps_state_check,
    ADD CONSTRAINT steps_state_check CHECK (state IN ('started', 'done', 'failed', 'undoing', 'undone'));

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

-- hold, and what a migration in one round trip rests on: the tenant's lock is free, the schema is its own and may be used, and
-- goose's table holds these versions and no others.
-- +goose StatementBegin
CREATE FUNCTION tenantctl.expect(op uuid, held bigint, lock bigint, place text, mark text, book bigint[]) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    usable boolean;
    applied bigint[];
BEGIN
    PERFORM 1 FROM tenantctl.operations WHERE id = op AND fence = held AND state IN ('running', 'undoing') FOR KEY SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'operation % was taken over', op USING ERRCODE = 'TC001';
    END IF;
    SELECT has_schema_privilege(n.oid, 'USAGE') AND split_part(d.description, ' ', 1) = mark INTO usable
        FROM pg_namespace n JOIN pg_description d ON d.objoid = n.oid AND d.classoid = 'pg_namespace'::regclass AND d.objsubid = 0
        WHERE n.nspname = place;
    IF usable AND pg_try_advisory_xact_lock(lock) THEN -- what is read under a lock needs a statement of its own
        EXECUTE format('SELECT CASE WHEN bool_and(is_applied) THEN array_agg(version_id ORDER BY version_id) END FROM %I.goose_db_version WHERE version_id > 0', place) INTO applied;
    END IF;
    IF applied IS DISTINCT FROM book THEN
        RAISE EXCEPTION 'the tenant is not as expected' USING ERRCODE = 'TC002';
    END IF;
END $$;
-- +goose StatementEnd

-- +goose Down
DROP FUNCTION tenantctl.expect;
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION tenantctl.record(tenant uuid, store text, at bigint, count integer) RETURNS void LANGUAGE sql AS $$
    INSERT INTO tenantctl.versions AS v (tenant_id, kind, version, applied) VALUES (tenant, store, at, count)
        ON CONFLICT (tenant_id, kind) DO UPDATE SET version = at, applied = count, recorded_at = now()
        WHERE (v.version, v.applied) IS DISTINCT FROM (at, count)
$$;
-- +goose StatementEnd
ALTER FUNCTION tenantctl.record RESET search_path;
ALTER FUNCTION tenantctl.hold RESET search_path;
UPDATE tenantctl.steps SET state = 'failed' WHERE state = 'undoing';
ALTER TABLE tenantctl.steps DROP CONSTRAINT steps_state_check,
    ADD CONSTRAINT steps_state_check CHECK (state IN ('started', 'done', 'failed', 'undone'));
ALTER TABLE tenantctl.operations DROP COLUMN wave;
