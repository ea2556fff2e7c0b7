-- +goose Up

ALTER TABLE tenantctl.tenants ADD COLUMN adopted boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN tenantctl.tenants.adopted IS 'another tool made its places: schema and objects have the owners that it gave them';
UPDATE tenantctl.tenants SET adopted = true WHERE role_name IS NULL;

-- +goose Down
ALTER TABLE tenantctl.tenants DROP COLUMN adopted;
