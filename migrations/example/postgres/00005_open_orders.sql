-- +goose NO TRANSACTION

-- +goose Up
CREATE INDEX CONCURRENTLY IF NOT EXISTS orders_open ON orders (placed_at) WHERE state = 'open';

-- +goose Down
DROP INDEX CONCURRENTLY IF EXISTS orders_open;
