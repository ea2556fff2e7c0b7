package schema

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/tenantctl/tenantctl/tenant"
)

// Verify asks a few questions about all places at once, in one transaction that changes nothing.
func (r *Resource) Verify(ctx context.Context, ts, peers []tenant.Tenant, found func(tenant.Fault)) error {
	if len(ts) == 0 {
		return nil
	}
	var lost []tenant.Fault
	err := r.verify(ctx, ts, peers, func(f tenant.Fault) {
		if f.Rule == ruleForeignSchema || f.Rule == ruleForeignRole {
			lost = append(lost, f)
			return
		}
		found(f)
	})
	if err != nil {
		return err
	}
	if err := r.verifyObjects(ctx, ts, found); err != nil {
		return err
	}
	byID, peers := map[uuid.UUID]tenant.Tenant{}, slices.Clone(peers)
	for _, t := range ts {
		byID[t.ID] = t
		if !slices.ContainsFunc(lost, func(f tenant.Fault) bool { return f.Tenant == t.ID }) {
			peers = append(peers, t)
		}
	}
	for i := range lost {
		if err := r.judge(ctx, byID[lost[i].Tenant], peers, &lost[i]); err != nil {
			return err
		}
		found(lost[i])
	}
	return nil
}

func (r *Resource) verify(ctx context.Context, ts, peers []tenant.Tenant, found func(tenant.Fault)) error {
	conn, err := r.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	defer rollback(ctx, conn)
	pg := conn.Conn().PgConn()
	commands := append([]command{cmd("BEGIN READ ONLY"), cmd("SET LOCAL search_path = pg_catalog"), cmd("SET LOCAL jit = off"), r.readPatience()}, unlimited(major(pg))...)
	asked, err := r.inquiries(ts, peers, false, found)
	if err != nil {
		return err
	}
	return failure("verify the tenants' schemas", send(ctx, pg, append(append(commands, asked...), cmd("COMMIT"))))
}

// subject is one tenant as the server is asked about it.
type subject struct {
	I      int    `json:"i"`
	Schema string `json:"schema"`
	Mark   string `json:"mark"`
	Role   string `json:"rolname"`
	State  string `json:"state"`
	Asked  bool   `json:"asked"`
	Theirs bool   `json:"theirs"` // another tool owns it
	Behind string `json:"behind"` // what follows the schema on the search_path
}

// inquiries are the commands that find faults of tenants, or only what can be mended, in a transaction of the caller's.
func (r *Resource) inquiries(ts, peers []tenant.Tenant, toMend bool, found func(tenant.Fault)) ([]command, error) {
	var subjects []subject
	behind := ""
	if r.cfg.ExtensionsSchema != "" {
		behind = ", " + r.cfg.ExtensionsSchema
	}
	for i, t := range ts {
		subjects = append(subjects, subject{i, t.Schema, mark(t), t.Role, string(t.State), true, t.Adopted, behind})
	}
	for i, t := range peers {
		subjects = append(subjects, subject{len(ts) + i, t.Schema, mark(t), t.Role, string(t.State), false, t.Adopted, behind})
	}
	ask, err := json.Marshal(subjects)
	if err != nil {
		return nil, err
	}
	commands := []command{cmd("SELECT set_config('tenantctl.ask', %s, true), set_config('tenantctl.behind', %s, true)", text(string(ask)), text(behind))}
	for _, q := range inquiries {
		if q.ofRoles && !r.cfg.Roles || toMend && q.tells {
			continue
		}
		c := command{sql: subjects0 + q.sql, count: 1}
		c.row = func(row [][]byte) {
			i, err := strconv.Atoi(string(row[0]))
			if err != nil || i >= len(ts) { // the statements give numbers of what was asked for
				return
			}
			fault := tenant.Fault{Tenant: ts[i].ID, Rule: string(row[1]), Object: string(row[2]), Message: string(row[3]), Fix: string(row[4])}
			if (!r.hasRole(ts[i]) || ts[i].Adopted) && fault.Rule == rulePublicGrant && (strings.HasPrefix(fault.Object, "function ") || strings.HasPrefix(fault.Object, "type ")) {
				return // what PostgreSQL gives by itself is taken from PUBLIC only where tenants have roles, and stays on what another tool has made
			}
			fault.Hint, fault.Warning = wayOut(&fault, ts[i]), fault.Rule == ruleDefinerPinned || fault.Rule == ruleNoAccess
			if fault.Rule == ruleMissingRole {
				fault.Fix = statements(r.makeRole(ts[i]))
			}
			found(fault)
		}
		commands = append(commands, c)
	}
	return commands, nil
}

func statements(commands []command) string {
	var all []string
	for _, c := range commands {
		all = append(all, c.sql)
	}
	return strings.Join(all, "; ")
}

// wayOut is what a person can do about a fault.
func wayOut(f *tenant.Fault, t tenant.Tenant) string {
	if f.Fix != "" {
		return hintFix
	}
	return wayOutOf[f.Rule]
}

const hintFix = "tenantctl verify --fix"

var wayOutOf = map[string]string{
	ruleMissingSchema: "tenantctl restore puts back a backup; tenantctl delete takes the tenant out of the catalog",
	ruleForeignSchema: "look whose it is; what is the tenant's all the same gets its tag back by COMMENT ON SCHEMA ... IS 'tenantctl:' and the tenant's id",
	ruleMissingRole:   "tenantctl verify --fix",
	ruleAttributes:    "let a superuser take it by ALTER ROLE: the provisioning role may not take what it does not have",
	ruleMember:        "let who granted it, or a superuser, REVOKE it: the provisioning role may not take what it has not given",
	ruleForeignRole:   "look whose it is; what is the tenant's all the same gets its tag back by COMMENT ON ROLE ... IS 'tenantctl:' and the tenant's id",
	ruleReachesOut:    "drop what depends on it, or move what it needs into the tenant's own schema",
	ruleReachedInto:   "drop it or move it: purge and restore of this tenant are refused while it is there",
	ruleReadsReplaced: "--fix leaves it: --leave-dependents has asked for it, and whose data it is to show is for its owner to say; make it again on the tenant's schema, or drop it: " +
		"tenantctl purge NAME --dry-run, with the name of what was replaced, lists the SQL that frees it",
	ruleDefiner:       "make it SECURITY INVOKER, or pin it with SET search_path to the schema and pg_temp",
	ruleDefinerPinned: "it runs with the rights of its owner, who reaches every tenant: make sure that it has to",
	ruleUnsafePath:    "let SET search_path name the tenant's schema, pg_catalog and pg_temp alone",
	ruleInvalidIndex:  "REINDEX INDEX CONCURRENTLY, or drop it and make it anew",
	ruleAccess:        "let its owner GRANT it, or ALTER ... OWNER TO the schema's owner",
	ruleNoAccess:      "let the schema's owner GRANT it, unless it is meant to be so",
	ruleLostObject:    "put the objects back from a backup (tenantctl restore --table NAME, and copy them), or set the values to NULL",
	ruleRowSecurity:   "ALTER TABLE ... ENABLE ROW LEVEL SECURITY, with the policies that the others have",
}

// Orphans asks for schemas and roles with a mark, and for those that only have the prefix. Roles are the whole server's:
// those that belong to another database of it are left out.
func (r *Resource) Orphans(ctx context.Context, known []tenant.Tenant, prefix string, found func(tenant.Fault)) error {
	conn, err := r.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	schemas, roles, ids := map[string]string{}, map[string]string{}, map[string]tenant.Tenant{}
	for _, t := range known {
		schemas[t.Schema], roles[t.Role], ids[mark(t)] = mark(t), mark(t), t
	}
	orphan := func(kind string, places map[string]string, name, comment string) {
		marked, _, _ := strings.Cut(comment, " ")
		of, isKnown := places[name]
		whose, isOf := ids[marked]
		isMarked := strings.HasPrefix(marked, markPrefix)
		f := tenant.Fault{Rule: "orphaned-" + kind, Object: kind + " " + name, Hint: "look what it holds, and drop it by hand if nobody needs it"}
		switch {
		case isKnown && (of == marked || !isMarked): // a place without its mark is told with its tenant
			return
		case isMarked && isOf && (kind == "schema" && whose.Schema != name || kind == "role" && whose.Role != name):
			f.Message = fmt.Sprintf("bears the mark of tenant %s, whose %s has another name", whose.Name, kind)
		case isMarked && !isOf:
			f.Message = "bears tenantctl's mark and is of no tenant in the catalog"
		case !isMarked && !isKnown:
			f.Rule, f.Message, f.Warning = "unknown-"+kind, fmt.Sprintf("begins with %s, bears no mark and is of no tenant in the catalog", prefix), true
			f.Hint = "tenantctl did not make it; where it is no tenant's, rename it"
		default:
			return
		}
		found(f)
	}
	here := cmd(namedSchemas, text(markPrefix+"%"), text(prefix))
	here.row = func(row [][]byte) { orphan("schema", schemas, string(row[0]), string(row[1])) }
	commands := []command{here}
	if r.cfg.Roles {
		login := cmd(namedRoles, text(markPrefix+"%"), text(prefix))
		login.row = func(row [][]byte) { orphan("role", roles, string(row[0]), string(row[1])) }
		commands = append(commands, login)
	}
	return failure("look for schemas and roles of nobody", send(ctx, conn.Conn().PgConn(), commands))
}

// markPrefix begins every mark.
const markPrefix = "tenantctl:"

// Mend runs what Verify would do about its faults, under the tenant's lock, until nothing is left to be done: a role that was
// missing has rights to get next.
func (r *Resource) Mend(ctx context.Context, t tenant.Tenant) (changed bool, err error) {
	conn, err := r.acquire(ctx)
	if err != nil {
		return false, err
	}
	defer conn.Release()
	done := map[string]bool{}
	for range mendRounds {
		var fixes []command
		lockedOut := false
		err := r.transact(ctx, conn, t, func(*place) []command {
			fixes = nil
			asked, err := r.inquiries([]tenant.Tenant{t}, nil, true, func(f tenant.Fault) {
				if f.Fix != "" && !done[f.Fix] {
					fixes = append(fixes, command{sql: f.Fix, count: len(statementsOf(f.Fix))})
					lockedOut = lockedOut || f.Rule == ruleNotLockedOut
				}
			})
			if err != nil { // a tenant can be written as JSON
				return nil
			}
			return asked
		}, func(p *place) ([]command, error) {
			if p.schema != tenant.Ours {
				fixes = nil
			}
			return fixes, nil
		})
		if err != nil {
			return changed, refusal("mend schema "+t.Schema, conn, t, err)
		}
		for _, f := range fixes { // now that they are committed: a transaction that is tried again runs all of them again
			done[f.sql] = true
		}
		if err := tenant.Checkpoint(ctx, "postgres/mended"); err != nil {
			return changed, err
		}
		if lockedOut {
			if err := r.endSessions(ctx, conn, t); err != nil {
				return changed, refusal("lock out role "+t.Role, conn, t, err)
			}
		}
		if len(fixes) == 0 {
			break
		}
		changed = true
	}
	return changed, nil
}

// mendRounds is how often what was mended is looked at again.
const mendRounds = 4
