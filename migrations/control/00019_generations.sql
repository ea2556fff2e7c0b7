-- +goose Up

-- What an application keeps of a tenant's data elsewhere, in Redis for instance, is of one generation of that data. A restore
-- begins another, in the transaction that puts the data in place; so does a tenant that takes the name of a deleted one.
ALTER TABLE tenantctl.tenants ADD COLUMN generation text NOT NULL DEFAULT left(replace(gen_random_uuid()::text, '-', ''), 12);
COMMENT ON COLUMN tenantctl.tenants.generation IS 'another one once the tenant''s data was replaced; keys in Redis begin with {SCHEMA}:GENERATION:';

CREATE OR REPLACE VIEW tenantctl.routes AS
    SELECT t.id AS tenant_id, t.name, t.state, t.schema_name, t.database_name, coalesce(t.role_name, '') AS role_name, t.revision,
        CASE WHEN t.state <> 'active' THEN 'closed' ELSE coalesce(o.gate, 'open') END AS gate,
        CASE t.state WHEN 'active' THEN coalesce(o.gate_reason, '') WHEN 'suspended' THEN coalesce(t.suspended_for, '') ELSE '' END AS gate_reason,
        ARRAY(SELECT d.domain FROM tenantctl.domains d WHERE d.tenant_id = t.id ORDER BY d.domain) AS domains,
        ARRAY(SELECT d.serves FROM tenantctl.domains d WHERE d.tenant_id = t.id ORDER BY d.domain) AS serves,
        ARRAY(SELECT d.verified_at IS NOT NULL FROM tenantctl.domains d WHERE d.tenant_id = t.id ORDER BY d.domain) AS verified,
        ARRAY(SELECT f.name FROM tenantctl.former_names f WHERE f.tenant_id = t.id ORDER BY f.name) AS former_names,
        t.generation
    FROM tenantctl.tenants t LEFT JOIN tenantctl.operations o
        ON o.tenant_id = t.id AND o.state IN ('running', 'undoing', 'stuck') AND o.gate IS NOT NULL
    WHERE t.state <> 'provisioning';

-- +goose Down
DROP VIEW tenantctl.routes;
CREATE VIEW tenantctl.routes AS
    SELECT t.id AS tenant_id, t.name, t.state, t.schema_name, t.database_name, coalesce(t.role_name, '') AS role_name, t.revision,
        CASE WHEN t.state <> 'active' THEN 'closed' ELSE coalesce(o.gate, 'open') END AS gate,
        CASE t.state WHEN 'active' THEN coalesce(o.gate_reason, '') WHEN 'suspended' THEN coalesce(t.suspended_for, '') ELSE '' END AS gate_reason,
        ARRAY(SELECT d.domain FROM tenantctl.domains d WHERE d.tenant_id = t.id ORDER BY d.domain) AS domains,
        ARRAY(SELECT d.serves FROM tenantctl.domains d WHERE d.tenant_id = t.id ORDER BY d.domain) AS serves,
        ARRAY(SELECT d.verified_at IS NOT NULL FROM tenantctl.domains d WHERE d.tenant_id = t.id ORDER BY d.domain) AS verified,
        ARRAY(SELECT f.name FROM tenantctl.former_names f WHERE f.tenant_id = t.id ORDER BY f.name) AS former_names
    FROM tenantctl.tenants t LEFT JOIN tenantctl.operations o
        ON o.tenant_id = t.id AND o.state IN ('running', 'undoing', 'stuck') AND o.gate IS NOT NULL
    WHERE t.state <> 'provisioning';
COMMENT ON VIEW tenantctl.routes IS 'what a request for a tenant is answered by';
ALTER TABLE tenantctl.tenants DROP COLUMN generation;
