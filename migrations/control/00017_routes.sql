-- +goose Up

-- Routing: which tenant a request is for, and whether it may be served. The view routes is what resolvers read; it follows
-- from the tenants and their live operations, so that no end of an operation can leave it behind.
ALTER TABLE tenantctl.operations ADD COLUMN gate text CHECK (gate IN ('closing', 'moving')), ADD COLUMN gate_reason text;
COMMENT ON COLUMN tenantctl.operations.gate IS 'while the operation is live, its tenant''s requests are not served: written before a store is locked';

ALTER TABLE tenantctl.tenants ADD COLUMN suspended_for text;
COMMENT ON COLUMN tenantctl.tenants.suspended_for IS 'the reason given when it was suspended; visitors see it';

ALTER TABLE tenantctl.domains ADD COLUMN serves text NOT NULL DEFAULT 'answer' CHECK (serves IN ('answer', 'canonical', 'redirect')),
    ADD COLUMN token text NOT NULL DEFAULT replace(gen_random_uuid()::text, '-', ''), ADD COLUMN verified_at timestamptz, ADD COLUMN verified_by text;
COMMENT ON COLUMN tenantctl.domains.serves IS 'redirect: its requests are sent to the tenant''s canonical domain';
COMMENT ON COLUMN tenantctl.domains.token IS 'what a TXT record of _tenantctl.DOMAIN has to hold before the domain is served';
UPDATE tenantctl.domains SET verified_at = now(), verified_by = 'assumed';
CREATE UNIQUE INDEX domains_one_canonical ON tenantctl.domains (tenant_id) WHERE serves = 'canonical';

CREATE TABLE tenantctl.former_names (
    name      text PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenantctl.tenants ON DELETE CASCADE
);
COMMENT ON TABLE tenantctl.former_names IS 'names that renamed tenants had, until another tenant takes them';
CREATE INDEX former_names_tenant ON tenantctl.former_names (tenant_id);
INSERT INTO tenantctl.former_names (name, tenant_id)
    SELECT DISTINCT ON (o.tenant_name) o.tenant_name, o.tenant_id FROM tenantctl.operations o JOIN tenantctl.tenants t ON t.id = o.tenant_id
    WHERE o.kind = 'rename' AND o.state = 'done' AND NOT EXISTS (SELECT FROM tenantctl.tenants n WHERE n.name = o.tenant_name)
    ORDER BY o.tenant_name, o.seq DESC NULLS LAST;

CREATE TABLE tenantctl.route_changes (
    seq       bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    xid       xid8 NOT NULL DEFAULT pg_current_xact_id(),
    tenant_id uuid NOT NULL,
    at        timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE tenantctl.route_changes IS 'whose route has changed. A reader goes on from pg_snapshot_xmin of the snapshot it has read by: a transaction that commits late is above it';
CREATE INDEX route_changes_xid ON tenantctl.route_changes (xid);

CREATE TABLE tenantctl.route_feed (
    one     boolean PRIMARY KEY DEFAULT true CHECK (one),
    trimmed xid8 NOT NULL,
    next    xid8 NOT NULL,
    next_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN tenantctl.route_feed.trimmed IS 'changes below are gone: a reader that has not come so far reads all routes';
COMMENT ON COLUMN tenantctl.route_feed.next IS 'every transaction below had ended at next_at: an hour later its changes are trimmed';
INSERT INTO tenantctl.route_feed (trimmed, next) SELECT x, x FROM pg_snapshot_xmin(pg_current_snapshot()) x;

CREATE TABLE tenantctl.resolvers (
    id         uuid PRIMARY KEY,
    name       text NOT NULL,
    seen       pg_snapshot,
    started_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
COMMENT ON COLUMN tenantctl.resolvers.seen IS 'the resolver answers by what this snapshot sees; NULL until it has read the routes';
COMMENT ON COLUMN tenantctl.resolvers.expires_at IS 'the resolver answers no longer than to here unless it renews this';

-- change_route notes that a tenant's route has changed, once a transaction. Nobody is woken for a fleet run's tasks.
-- +goose StatementBegin
CREATE FUNCTION tenantctl.change_route(tenant uuid, quiet boolean) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO tenantctl.route_changes (tenant_id) SELECT tenant
        WHERE NOT EXISTS (SELECT FROM tenantctl.tenants t WHERE t.id = tenant AND t.state = 'provisioning')
        AND NOT EXISTS (SELECT FROM tenantctl.route_changes c WHERE c.xid = pg_current_xact_id() AND c.tenant_id = tenant);
    IF FOUND AND NOT quiet AND NOT EXISTS (SELECT FROM tenantctl.operations o
        WHERE o.tenant_id = tenant AND o.parent_id IS NOT NULL AND o.state IN ('running', 'undoing', 'stuck')) THEN
        PERFORM pg_notify('tenantctl_routes', '');
    END IF;
END $$;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE FUNCTION tenantctl.route_of_tenant() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF OLD.state <> 'provisioning' THEN
            PERFORM tenantctl.change_route(OLD.id, false);
        END IF;
        RETURN NULL;
    END IF;
    IF TG_OP = 'INSERT' OR OLD.name <> NEW.name THEN
        DELETE FROM tenantctl.former_names WHERE name = NEW.name;
    END IF;
    IF TG_OP = 'UPDATE' AND OLD.name <> NEW.name THEN
        INSERT INTO tenantctl.former_names (name, tenant_id) VALUES (OLD.name, NEW.id) ON CONFLICT (name) DO UPDATE SET tenant_id = NEW.id;
    END IF;
    PERFORM tenantctl.change_route(NEW.id, false);
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER route_of_tenant AFTER INSERT OR DELETE OR UPDATE ON tenantctl.tenants FOR EACH ROW EXECUTE FUNCTION tenantctl.route_of_tenant();

-- +goose StatementBegin
CREATE FUNCTION tenantctl.route_of_domain() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        PERFORM tenantctl.change_route(OLD.tenant_id, false);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        PERFORM tenantctl.change_route(NEW.tenant_id, false);
    END IF;
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER route_of_domain AFTER INSERT OR DELETE OR UPDATE ON tenantctl.domains FOR EACH ROW EXECUTE FUNCTION tenantctl.route_of_domain();

-- +goose StatementBegin
CREATE FUNCTION tenantctl.route_of_operation() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM tenantctl.change_route(NEW.tenant_id, NEW.parent_id IS NOT NULL);
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER route_of_operation AFTER INSERT ON tenantctl.operations FOR EACH ROW
    WHEN (NEW.gate IS NOT NULL) EXECUTE FUNCTION tenantctl.route_of_operation();
CREATE TRIGGER route_of_operation_end AFTER UPDATE OF gate, state ON tenantctl.operations FOR EACH ROW
    WHEN (coalesce(OLD.gate, NEW.gate) IS NOT NULL AND (OLD.gate, OLD.state) IS DISTINCT FROM (NEW.gate, NEW.state))
    EXECUTE FUNCTION tenantctl.route_of_operation();

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

-- +goose Down
DROP VIEW tenantctl.routes;
DROP TRIGGER route_of_operation_end ON tenantctl.operations;
DROP TRIGGER route_of_operation ON tenantctl.operations;
DROP TRIGGER route_of_domain ON tenantctl.domains;
DROP TRIGGER route_of_tenant ON tenantctl.tenants;
DROP FUNCTION tenantctl.route_of_operation, tenantctl.route_of_domain, tenantctl.route_of_tenant, tenantctl.change_route;
DROP TABLE tenantctl.resolvers, tenantctl.route_feed, tenantctl.route_changes, tenantctl.former_names;
ALTER TABLE tenantctl.domains DROP COLUMN verified_by, DROP COLUMN verified_at, DROP COLUMN token, DROP COLUMN serves;
ALTER TABLE tenantctl.tenants DROP COLUMN suspended_for;
ALTER TABLE tenantctl.operations DROP COLUMN gate_reason, DROP COLUMN gate;
