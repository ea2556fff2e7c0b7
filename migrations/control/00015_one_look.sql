-- +goose Up
-- Both are called in every tenant's transaction: they look at all they need by one statement, and keep one plan for it.

-- take is hold and try_lock.
-- +goose StatementBegin
CREATE FUNCTION tenantctl.take(op uuid, held bigint, what uuid) RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    PERFORM FROM tenantctl.operations o, tenantctl.locks l
        WHERE o.id = op AND o.fence = held AND o.state IN ('running', 'undoing') AND l.id = what AND l.pid IS NULL
        FOR KEY SHARE OF o FOR UPDATE OF l SKIP LOCKED;
    IF FOUND THEN
        RETURN true;
    END IF;
    PERFORM tenantctl.hold(op, held); -- they tell what was in the way
    RETURN tenantctl.try_lock(what);
END $$;
-- +goose StatementEnd

-- advance is what a migration in one round trip rests on, and writes the version that it comes to: the operation is held, the
-- tenant's lock is free, the schema is its own, and goose's table holds these versions and no others. A session that may not
-- use the schema cannot read that table.
-- +goose StatementBegin
CREATE FUNCTION tenantctl.advance(op uuid, held bigint, tenant uuid, place text, mark text, book bigint[], at bigint, files integer) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    applied bigint[];
BEGIN
    WITH held AS MATERIALIZED (SELECT FROM tenantctl.operations o, tenantctl.locks l, pg_description d
        WHERE o.id = op AND o.fence = held AND o.state IN ('running', 'undoing') AND l.id = tenant AND l.pid IS NULL
            AND d.objoid = to_regnamespace(quote_ident(place)) AND d.classoid = 'pg_namespace'::regclass AND d.objsubid = 0 AND split_part(d.description, ' ', 1) = mark
        FOR KEY SHARE OF o FOR UPDATE OF l SKIP LOCKED)
    INSERT INTO tenantctl.versions (tenant_id, kind, version, applied) SELECT tenant, 'postgres', at, files FROM held
        ON CONFLICT (tenant_id, kind) DO UPDATE SET version = EXCLUDED.version, applied = EXCLUDED.applied, recorded_at = now();
    IF FOUND THEN -- what is read under a lock needs a statement of its own
        EXECUTE format('SELECT ARRAY(SELECT CASE WHEN is_applied THEN version_id ELSE -1 END FROM %I.goose_db_version)', place) INTO applied;
        applied := array_remove(applied, 0);
    END IF;
    IF applied = book OR cardinality(applied) = cardinality(book) AND applied @> book AND applied <@ book THEN
        RETURN;
    END IF;
    RAISE EXCEPTION 'the tenant is not as expected' USING ERRCODE = 'TC002';
END $$;
-- +goose StatementEnd

-- +goose Down
DROP FUNCTION tenantctl.advance, tenantctl.take;
