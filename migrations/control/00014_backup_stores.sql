-- +goose Up
ALTER TABLE tenantctl.backups ADD COLUMN store uuid;
COMMENT ON COLUMN tenantctl.backups.store IS 'id of the store that it was written to; NULL where that had none yet. Another store may have come to stand under the same name';

-- +goose Down
ALTER TABLE tenantctl.backups DROP COLUMN store;
