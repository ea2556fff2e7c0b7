-- +goose Up

-- The definitions that backups hold, as pg_dump gave them, for all tenants whose structure is the same.
CREATE TABLE tenantctl.structures (
    fingerprint text NOT NULL,
    rights      text NOT NULL,
    server      integer NOT NULL,
    writing     integer NOT NULL,
    pre_data    text NOT NULL,
    post_data   text NOT NULL,
    grants      text NOT NULL,
    pg_dump     text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    used_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (fingerprint, rights, server, writing)
);
COMMENT ON TABLE tenantctl.structures IS 'a cache: it may be emptied at any time';
COMMENT ON COLUMN tenantctl.structures.server IS 'major version';
COMMENT ON COLUMN tenantctl.structures.writing IS 'version of the way in which tenantctl puts variables into the text';

-- +goose Down
DROP TABLE tenantctl.structures;
