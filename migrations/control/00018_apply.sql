-- +goose Up

CREATE UNIQUE INDEX operations_one_apply ON tenantctl.operations (kind) WHERE kind = 'apply' AND parent_id IS NULL AND state = 'running';
COMMENT ON INDEX tenantctl.operations_one_apply IS 'two files are never applied at once';

-- +goose Down
DROP INDEX tenantctl.operations_one_apply;
