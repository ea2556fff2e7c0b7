-- +goose Up

CREATE TABLE tenantctl.locks (
    id    uuid PRIMARY KEY,
    pid   integer,
    login oid,
    since timestamptz
);
COMMENT ON TABLE tenantctl.locks IS 'what one process at a time works on: a tenant, the scratch schema. Every role of a server can see and take an advisory lock, and none but ours can lock a row here';
COMMENT ON COLUMN tenantctl.locks.pid IS 'of the session that holds the lock outside a transaction, with its login and the time at which it began';
INSERT INTO tenantctl.locks (id) SELECT id FROM tenantctl.tenants UNION ALL SELECT '00000000-0000-7000-8000-000000000001';

-- +goose StatementBegin
CREATE FUNCTION tenantctl.add_lock() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO tenantctl.locks (id) VALUES (NEW.id) ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER add_lock AFTER INSERT ON tenantctl.tenants FOR EACH ROW EXECUTE FUNCTION tenantctl.add_lock();

-- try_lock locks until the transaction ends, and is false where another process holds the lock.
-- +goose StatementBegin
CREATE FUNCTION tenantctl.try_lock(what uuid) RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    held tenantctl.locks;
BEGIN
    SELECT * INTO held FROM tenantctl.locks WHERE id = what FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        IF EXISTS (SELECT FROM tenantctl.locks WHERE id = what) THEN
            RETURN false;
        END IF;
        INSERT INTO tenantctl.locks (id) VALUES (what) ON CONFLICT DO NOTHING;
        RETURN FOUND;
    END IF;
    IF held.pid IS NULL OR held.pid = pg_backend_pid() THEN
        RETURN true;
    END IF;
    RETURN NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = held.pid AND a.usesysid = held.login AND coalesce(a.backend_start = held.since, true));
END $$;
-- +goose StatementEnd

-- lock_session locks until unlock_session or the end of that session, for work outside any transaction.
-- +goose StatementBegin
CREATE FUNCTION tenantctl.lock_session(what uuid, session integer, as_login oid, began timestamptz) RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT tenantctl.try_lock(what) THEN
        RETURN false;
    END IF;
    UPDATE tenantctl.locks SET pid = session, login = as_login, since = began WHERE id = what;
    RETURN true;
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION tenantctl.unlock_session(what uuid, session integer) RETURNS void LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    UPDATE tenantctl.locks SET pid = NULL, login = NULL, since = NULL WHERE id = what AND pid = session
$$;
-- +goose StatementEnd

DROP FUNCTION tenantctl.expect;

-- hold, and what a migration in one round trip rests on: the tenant's lock is free, the schema is its own and may be used, and
-- goose's table holds these versions and no others.
-- +goose StatementBegin
CREATE FUNCTION tenantctl.expect(op uuid, held bigint, tenant uuid, place text, mark text, book bigint[]) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
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
    IF usable AND tenantctl.try_lock(tenant) THEN -- what is read under a lock needs a statement of its own
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
    IF usable AND pg_try_advisory_xact_lock(lock) THEN
        EXECUTE format('SELECT CASE WHEN bool_and(is_applied) THEN array_agg(version_id ORDER BY version_id) END FROM %I.goose_db_version WHERE version_id > 0', place) INTO applied;
    END IF;
    IF applied IS DISTINCT FROM book THEN
        RAISE EXCEPTION 'the tenant is not as expected' USING ERRCODE = 'TC002';
    END IF;
END $$;
-- +goose StatementEnd
DROP TRIGGER add_lock ON tenantctl.tenants;
DROP FUNCTION tenantctl.add_lock, tenantctl.unlock_session, tenantctl.lock_session, tenantctl.try_lock;
DROP TABLE tenantctl.locks;
