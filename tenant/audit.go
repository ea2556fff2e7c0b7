package tenant

import (
	"context"
	"iter"
	"time"

	"github.com/jackc/pgx/v5"
)

const auditColumns = `at, actor, origin, action, coalesce(tenant_name, ''), detail, operation_id`

// AuditFilter chooses entries of the audit; the zero filter takes all.
type AuditFilter struct {
	Tenant Name // as it is called now, or was called then
	Actor  string
	Action string
	Since  time.Time
	Limit  int // 0 for all
}

// Audit gives entries of the audit, newest first, as they come from the server. It stops after the first error.
func (s *Service) Audit(ctx context.Context, f AuditFilter) iter.Seq2[AuditEntry, error] {
	var q query
	if f.Tenant != "" {
		name := q.arg(string(f.Tenant))
		q.and("(tenant_name = " + name + " OR tenant_id = (SELECT t.id FROM tenantctl.tenants t WHERE t.name = " + name + "))")
	}
	if f.Actor != "" {
		q.and("actor = " + q.arg(f.Actor))
	}
	if f.Action != "" {
		q.and("action = " + q.arg(f.Action))
	}
	if !f.Since.IsZero() {
		q.and("at >= " + q.arg(f.Since))
	}
	sql := `SELECT ` + auditColumns + ` FROM tenantctl.audit WHERE ` + q.where() + ` ORDER BY id DESC`
	if f.Limit > 0 {
		sql += " LIMIT " + q.arg(f.Limit)
	}
	return func(yield func(AuditEntry, error) bool) {
		rows, err := s.catalog.pool.Query(ctx, sql, q.args...)
		if err != nil {
			yield(AuditEntry{}, catalogError("read the audit", err))
			return
		}
		defer rows.Close()
		for rows.Next() {
			e, err := pgx.RowToStructByPos[AuditEntry](rows)
			e.At = e.At.UTC()
			if !yield(e, catalogError("read the audit", err)) || err != nil {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(AuditEntry{}, catalogError("read the audit", err))
		}
	}
}

// StaleTenant is an active tenant without a fresh backup.
type StaleTenant struct {
	Tenant     Name       `json:"tenant"`
	LastBackup *time.Time `json:"last_backup"` // null where there is none
}

// Stale gives the active tenants, by name, that are older than a duration and have no whole backup that is younger.
func (s *Service) Stale(ctx context.Context, within time.Duration) ([]StaleTenant, error) {
	return s.catalog.Stale(ctx, within)
}

// Stale is what the Service's method gives, for who asks the catalog alone.
func (c *Catalog) Stale(ctx context.Context, within time.Duration) ([]StaleTenant, error) {
	rows, err := c.pool.Query(ctx, `SELECT t.name, max(b.created_at) FROM tenantctl.tenants t
		LEFT JOIN tenantctl.backups b ON b.tenant_id = t.id AND b.only_store IS NULL
		WHERE t.state = 'active' AND t.created_at < now() - $1::interval
		GROUP BY t.id, t.name HAVING coalesce(max(b.created_at), '-infinity') < now() - $1::interval ORDER BY t.name`, interval(within))
	if err != nil {
		return nil, catalogError("look for tenants without a fresh backup", err)
	}
	stale, err := pgx.CollectRows(rows, pgx.RowToStructByPos[StaleTenant])
	for _, t := range stale {
		if t.LastBackup != nil {
			*t.LastBackup = t.LastBackup.UTC()
		}
	}
	return stale, catalogError("look for tenants without a fresh backup", err)
}
