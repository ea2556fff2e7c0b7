-- +goose Up
CREATE TABLE products (
    id          bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    sku         text NOT NULL UNIQUE,
    name        text NOT NULL,
    price_cents bigint NOT NULL CHECK (price_cents >= 0)
);
COMMENT ON COLUMN products.price_cents IS 'in the smallest unit of the tenant''s currency';

-- +goose Down
DROP TABLE products;
