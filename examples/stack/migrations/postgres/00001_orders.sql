-- +goose Up
CREATE TABLE orders (
    number       bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    customer     text NOT NULL CHECK (customer <> ''),
    item         text NOT NULL CHECK (item <> ''),
    amount_cents bigint NOT NULL CHECK (amount_cents >= 0),
    created_at   timestamptz NOT NULL DEFAULT now()
);

-- +goose Down
DROP TABLE orders;
