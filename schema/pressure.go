package schema

import (
	"context"
	"fmt"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/tenantctl/tenantctl/tenant"
)

// Pressure says why no new work should be begun: replicas are behind, or the application keeps the server busy. Our own
// sessions do not count. Lag is in bytes, since a replica that has stopped replaying tells no time.
func (r *Resource) Pressure(ctx context.Context) (string, error) {
	if r.cfg.MaxReplicationLag == 0 && r.cfg.MaxActive == 0 {
		return "", nil
	}
	var may bool
	var user, replica string
	var lag int64
	var active int
	err := r.pool.QueryRow(ctx, `SELECT pg_has_role('pg_read_all_stats', 'USAGE'), current_user, coalesce(l.name, ''), coalesce(l.lag, 0),
		(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND state <> 'idle' AND application_name <> 'tenantctl')
		FROM (SELECT) one LEFT JOIN (SELECT application_name AS name, pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn)::bigint AS lag
			FROM pg_stat_replication WHERE replay_lsn IS NOT NULL ORDER BY lag DESC LIMIT 1) l ON true`).Scan(&may, &user, &replica, &lag, &active)
	if err != nil {
		return "", failure("ask how busy the server is", err)
	}
	if !may {
		return "", &tenant.Error{
			Kind: tenant.ErrInvalid, Store: tenant.KindPostgres, Msg: user + " may not see how busy the server is, and fleet.max_replication_lag or fleet.max_active asks for it",
			Hint: fmt.Sprintf("as a superuser: GRANT pg_read_all_stats TO %s", quote(user)),
		}
	}
	var why []string
	if most := r.cfg.MaxReplicationLag; most > 0 && lag > most {
		why = append(why, fmt.Sprintf("replica %s is %s behind, the limit is %s", replica, humanize.IBytes(uint64(lag)), humanize.IBytes(uint64(most))))
	}
	if most := r.cfg.MaxActive; most > 0 && active > most {
		why = append(why, fmt.Sprintf("%s at work, the limit is %d", tenant.Plural(active, "session"), most))
	}
	return strings.Join(why, ", "), nil
}
