-- +goose Up

ALTER TABLE tenantctl.backups ADD COLUMN only_store text;
COMMENT ON COLUMN tenantctl.backups.only_store IS 'the one store that the backup was asked to hold; null for a whole backup';

-- +goose Down
ALTER TABLE tenantctl.backups DROP COLUMN only_store;
