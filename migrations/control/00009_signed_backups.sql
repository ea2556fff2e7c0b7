-- +goose Up

ALTER TABLE tenantctl.backups ADD COLUMN manifest_sha256 text NOT NULL DEFAULT '', ADD COLUMN signed_by text NOT NULL DEFAULT '';
COMMENT ON COLUMN tenantctl.backups.manifest_sha256 IS 'of the manifest when the backup was entered; another one is refused; empty for backups of earlier versions';
COMMENT ON COLUMN tenantctl.backups.signed_by IS 'id of the key whose signature was verified when the backup was entered';

-- +goose Down
ALTER TABLE tenantctl.backups DROP COLUMN manifest_sha256, DROP COLUMN signed_by;
