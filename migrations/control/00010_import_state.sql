-- +goose Up
-- A pass keeps the parts that it was planned as: whichever run goes on with it, they mean the same rows.
ALTER TABLE tenantctl.import_passes ADD COLUMN planned boolean NOT NULL DEFAULT false, ADD COLUMN run uuid;
COMMENT ON COLUMN tenantctl.import_passes.planned IS 'false where an older version began it, which kept no parts';
ALTER TABLE tenantctl.import_parts ADD COLUMN low text NOT NULL DEFAULT '', ADD COLUMN high text NOT NULL DEFAULT '', ADD COLUMN row_count bigint NOT NULL DEFAULT 0;

ALTER TABLE tenantctl.import_loads ADD COLUMN emptying text CHECK (emptying IN ('due', 'done')), ADD COLUMN mapping text NOT NULL DEFAULT '', ADD COLUMN run uuid;
COMMENT ON COLUMN tenantctl.import_loads.emptying IS 'due: the tenant''s rows are to be taken away before they are loaded again; done: they are, and the load is not over';
COMMENT ON COLUMN tenantctl.import_loads.mapping IS 'checksum of the mapping that the rows were loaded by; empty where an older version loaded them';

-- +goose Down
ALTER TABLE tenantctl.import_loads DROP COLUMN emptying, DROP COLUMN mapping, DROP COLUMN run;
ALTER TABLE tenantctl.import_parts DROP COLUMN low, DROP COLUMN high, DROP COLUMN row_count;
ALTER TABLE tenantctl.import_passes DROP COLUMN planned, DROP COLUMN run;
