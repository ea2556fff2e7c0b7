-- +goose Up
ALTER TABLE tenantctl.tenants ADD COLUMN revision bigint NOT NULL DEFAULT 1;
COMMENT ON COLUMN tenantctl.tenants.revision IS 'counts the changes of the row: what was decided on one revision is not done to another';

-- +goose StatementBegin
CREATE FUNCTION tenantctl.count_revision() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.revision := OLD.revision + 1;
    RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER count_revision BEFORE UPDATE ON tenantctl.tenants FOR EACH ROW EXECUTE FUNCTION tenantctl.count_revision();

CREATE SEQUENCE tenantctl.operations_seq;
ALTER TABLE tenantctl.operations ADD COLUMN seq bigint;
COMMENT ON COLUMN tenantctl.operations.seq IS 'the order in which operations went to work, by the server alone; NULL for one that has not';
UPDATE tenantctl.operations o SET seq = n.seq
    FROM (SELECT id, nextval('tenantctl.operations_seq') AS seq
        FROM (SELECT id FROM tenantctl.operations WHERE started_at IS NOT NULL ORDER BY started_at, id) s) n WHERE n.id = o.id;

-- +goose StatementBegin
CREATE FUNCTION tenantctl.draw_seq() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.seq := nextval('tenantctl.operations_seq');
    RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER draw_seq_at_once BEFORE INSERT ON tenantctl.operations FOR EACH ROW
    WHEN (NEW.state = 'running') EXECUTE FUNCTION tenantctl.draw_seq();
CREATE TRIGGER draw_seq BEFORE UPDATE OF state ON tenantctl.operations FOR EACH ROW
    WHEN (NEW.state = 'running' AND OLD.state <> 'running') EXECUTE FUNCTION tenantctl.draw_seq();

-- +goose Down
DROP TRIGGER draw_seq ON tenantctl.operations;
DROP TRIGGER draw_seq_at_once ON tenantctl.operations;
DROP FUNCTION tenantctl.draw_seq;
ALTER TABLE tenantctl.operations DROP COLUMN seq;
DROP SEQUENCE tenantctl.operations_seq;
DROP TRIGGER count_revision ON tenantctl.tenants;
DROP FUNCTION tenantctl.count_revision;
ALTER TABLE tenantctl.tenants DROP COLUMN revision;
