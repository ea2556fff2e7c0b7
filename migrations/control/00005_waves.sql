-- +goose Up

ALTER TABLE tenantctl.operations ADD COLUMN wave integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN tenantctl.operations.wave IS 'of a run''s part: the wave that it belongs to, from 1; 0 where the run has no waves';

-- +goose Down
ALTER TABLE tenantctl.operations DROP COLUMN wave;
