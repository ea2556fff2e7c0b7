-- +goose Up

ALTER TABLE tenantctl.tenants ALTER COLUMN role_name DROP NOT NULL;
COMMENT ON COLUMN tenantctl.tenants.role_name IS 'of PostgreSQL, and the user''s name in MongoDB; null where the tenant was adopted without one of its own';

-- +goose Down
UPDATE tenantctl.tenants SET role_name = schema_name WHERE role_name IS NULL;
ALTER TABLE tenantctl.tenants ALTER COLUMN role_name SET NOT NULL;
