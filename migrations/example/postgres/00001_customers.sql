-- +goose Up
CREATE TABLE customers (
    id         bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    email      text NOT NULL UNIQUE,
    name       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- +goose Down
DROP TABLE customers;
