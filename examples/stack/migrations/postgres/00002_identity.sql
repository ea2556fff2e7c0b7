-- +goose Up
CREATE TABLE identity (
    id        smallint PRIMARY KEY DEFAULT 1 CHECK (id = 1), -- one row
    tenant_id text NOT NULL
);
COMMENT ON TABLE identity IS 'whose tables these are; the application writes it at its first request and shows it by /whoami';

-- +goose Down
DROP TABLE identity;
