-- +goose Up
-- keep_tag puts a tenant's ownership tags back, before what a migration has written in their place: the comment stays. It
-- fails where the schema is gone.
-- +goose StatementBegin
CREATE FUNCTION tenantctl.keep_tag(place text, login text, tag text) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    said text;
BEGIN
    SELECT coalesce(d.description, '') INTO said FROM pg_namespace n
        LEFT JOIN pg_description d ON d.objoid = n.oid AND d.classoid = 'pg_namespace'::regclass AND d.objsubid = 0 WHERE n.nspname = place;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the tenant''s schema is gone: it was dropped or renamed' USING ERRCODE = 'TC004';
    ELSIF split_part(said, ' ', 1) <> tag THEN
        EXECUTE format('COMMENT ON SCHEMA %I IS %L', place, rtrim(tag || ' ' || said));
    END IF;
    SELECT coalesce(d.description, '') INTO said FROM pg_roles r
        LEFT JOIN pg_shdescription d ON d.objoid = r.oid AND d.classoid = 'pg_authid'::regclass WHERE r.rolname = login;
    IF FOUND AND split_part(said, ' ', 1) <> tag THEN
        EXECUTE format('COMMENT ON ROLE %I IS %L', login, rtrim(tag || ' ' || said));
    END IF;
END $$;
-- +goose StatementEnd

-- +goose Down
DROP FUNCTION tenantctl.keep_tag;
