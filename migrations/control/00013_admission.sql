-- +goose Up
-- No process of an older program is at work when this is done, and none begins anything from then on: it would go by other
-- locks than newer ones do. An older program has no version in the owner of its operations.
-- +goose StatementBegin
DO $$
DECLARE
    found text;
BEGIN
    LOCK TABLE tenantctl.operations IN SHARE ROW EXCLUSIVE MODE;
    SELECT string_agg(concat_ws(' ', kind, tenant_name, id), ', ') INTO found FROM tenantctl.operations
        WHERE state IN ('running', 'undoing') AND lease_until > now();
    IF found IS NOT NULL THEN
        RAISE EXCEPTION '%', found USING ERRCODE = 'TC004';
    END IF;
END $$;
-- +goose StatementEnd

CREATE TABLE tenantctl.admission (least bigint NOT NULL);
CREATE UNIQUE INDEX admission_one ON tenantctl.admission ((true));
COMMENT ON TABLE tenantctl.admission IS 'programs that know no catalog of this version begin nothing';
INSERT INTO tenantctl.admission VALUES (13);

-- +goose StatementBegin
CREATE FUNCTION tenantctl.refuse_older() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    knows text := split_part(NEW.owner, '|', 5);
    needed bigint := least FROM tenantctl.admission;
BEGIN
    IF knows ~ '^[0-9]{1,9}$' AND knows::bigint >= needed THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'this tenantctl is older than the catalog, which needs one for version % or newer: upgrade tenantctl', needed USING ERRCODE = 'TC003';
END $$;
-- +goose StatementEnd
CREATE TRIGGER refuse_older BEFORE INSERT OR UPDATE OF owner ON tenantctl.operations FOR EACH ROW
    WHEN (NEW.state IN ('running', 'undoing')) EXECUTE FUNCTION tenantctl.refuse_older();

-- +goose Down
DROP TRIGGER refuse_older ON tenantctl.operations;
DROP FUNCTION tenantctl.refuse_older;
DROP TABLE tenantctl.admission;
