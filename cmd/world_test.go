package cmd_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/tenantctl/tenantctl/tenant/tenanttest"
	"github.com/tenantctl/tenantctl/tenant/tenanttest/mongoproxy"
)

// world is a PostgreSQL database and a prefix for MongoDB databases that only one test uses, and hands that reach into
// both past the program.
type world struct {
	prefix            string
	postgres, mongodb string // URLs for the program
	pg                *pgxpool.Pool
	mongo             *mongo.Client
	users             *mongoproxy.Proxy // keeps MongoDB users; nil where the server is used as it is
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{prefix: tenanttest.Prefix(t), mongodb: tenanttest.MongoURL(t)}
	w.postgres = tenanttest.Postgres(t, w.prefix)
	pool, err := pgxpool.New(context.Background(), w.as(t, tenanttest.SuperuserURL(t)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	w.pg = pool
	w.mongo, err = mongo.Connect(options.Client().ApplyURI(w.mongodb))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background()
		for _, db := range w.databases(t) {
			if err := w.mongo.Database(db).Drop(ctx); err != nil {
				t.Errorf("drop the test's database: %v", err)
			}
		}
		if err := w.mongo.Disconnect(ctx); err != nil {
			t.Error(err)
		}
	})
	return w
}

// keepUsers puts a server in front of MongoDB that keeps users.
func (w *world) keepUsers(t testing.TB) {
	t.Helper()
	w.users = mongoproxy.Start(t, w.mongodb)
	w.users.KeepUsers()
	w.mongodb = w.users.URL()
}

// as is the world's database for the user of another URL.
func (w *world) as(t testing.TB, other string) string {
	t.Helper()
	u, err := url.Parse(other)
	if err != nil {
		t.Fatal("the server's URL cannot be read")
	}
	mine, err := url.Parse(w.postgres)
	if err != nil {
		t.Fatal("the server's URL cannot be read")
	}
	u.Path = mine.Path
	return u.String()
}

// env is what the program needs to find the world, in a folder with migrations.
func (w *world) env() []string {
	return []string{
		"TENANTCTL_POSTGRES_URL=" + w.postgres,
		"TENANTCTL_NOSQL_URL=" + w.mongodb,
		"TENANTCTL_NAMING_PREFIX=" + w.prefix,
	}
}

// copyMigrations puts the example migrations into dir, where the program looks for them by default.
func copyMigrations(t testing.TB, dir string) {
	t.Helper()
	if err := os.CopyFS(filepath.Join(dir, "migrations"), os.DirFS("../migrations/example")); err != nil {
		t.Fatal(err)
	}
}

func (w *world) databases(t testing.TB) []string {
	t.Helper()
	names, err := w.mongo.ListDatabaseNames(context.Background(), bson.D{{Key: "name", Value: bson.D{{Key: "$regex", Value: "^" + w.prefix}}}})
	if err != nil {
		t.Errorf("list databases: %v", err)
	}
	return names
}

// everything is all that the stores hold in this world, line by line: what a command that changes nothing must leave
// exactly as it is.
func (w *world) everything(t testing.TB) []string {
	t.Helper()
	lines := w.inPostgres(t, "!~ '^(pg_|information_schema)'", "~ '^"+w.prefix+"'")
	for _, db := range w.databases(t) {
		lines = append(lines, w.inMongoDB(t, db)...)
	}
	return append(lines, w.usersOf("")...)
}

// place is all that the stores hold under a tenant's places, without what differs between equal tenants: the names of
// the places, the tenant's id, and times.
func (w *world) place(t testing.TB, place string) []string {
	t.Helper()
	lines := w.inPostgres(t, "= '"+place+"'", "= '"+place+"'")
	if slices.Contains(w.databases(t), place) {
		lines = append(lines, w.inMongoDB(t, place)...)
	}
	lines = append(lines, w.usersOf(place)...)
	for i, l := range lines {
		l = regexp.MustCompile(`\b`+place+`\b`).ReplaceAllString(l, "PLACE")
		l = anyUUID.ReplaceAllString(l, "ID")
		l = anyTime.ReplaceAllString(l, "TIME")
		l = passwordHash.ReplaceAllString(l, "password")
		lines[i] = revision.ReplaceAllString(l, "")
	}
	slices.Sort(lines)
	return lines
}

var (
	anyUUID      = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	anyTime      = regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d(:?\d\d)?)?`)
	passwordHash = regexp.MustCompile(`password [0-9a-f]{32}`)
	revision     = regexp.MustCompile(`"revision": ?\{"\$numberLong":"\d+"\},|"revision": ?\d+,|"_id": ?\{"\$oid":"[0-9a-f]+"\},`)
)

// shapes reads what is in PostgreSQL; %[1]s is a condition on names of schemas and %[2]s one on names of roles.
const shapes = `
SELECT concat_ws(' ', 'role', rolname, 'login', rolcanlogin, 'super', rolsuper, 'createrole', rolcreaterole, 'config', rolconfig,
		'password ' || md5((SELECT rolpassword FROM pg_authid a WHERE a.oid = r.oid)), shobj_description(oid, 'pg_authid')) FROM pg_roles r WHERE rolname %[2]s
UNION ALL SELECT concat_ws(' ', 'member', r.rolname, 'of', g.rolname) FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member JOIN pg_roles g ON g.oid = m.roleid WHERE g.rolname %[2]s
UNION ALL SELECT concat_ws(' ', 'schema', nspname, pg_get_userbyid(nspowner), nspacl, obj_description(oid, 'pg_namespace')) FROM pg_namespace WHERE nspname %[1]s
UNION ALL SELECT concat_ws(' ', 'default', n.nspname, d.defaclobjtype, d.defaclacl) FROM pg_default_acl d JOIN pg_namespace n ON n.oid = d.defaclnamespace WHERE n.nspname %[1]s
UNION ALL SELECT concat_ws(' ', 'relation', n.nspname, c.relkind, c.relname, pg_get_userbyid(c.relowner), c.relacl, obj_description(c.oid, 'pg_class'),
		(SELECT string_agg(concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity), ', ' ORDER BY a.attnum) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
		(SELECT 'valid ' || i.indisvalid FROM pg_index i WHERE i.indexrelid = c.oid))
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname %[1]s AND c.relkind <> 't'
UNION ALL SELECT concat_ws(' ', 'constraint', n.nspname, c.conname, pg_get_constraintdef(c.oid)) FROM pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace WHERE n.nspname %[1]s
UNION ALL SELECT concat_ws(' ', 'routine', n.nspname, p.proname, p.proacl, p.prosrc) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname %[1]s
UNION ALL SELECT concat_ws(' ', 'type', n.nspname, y.typname, y.typacl) FROM pg_type y JOIN pg_namespace n ON n.oid = y.typnamespace WHERE n.nspname %[1]s AND y.typtype = 'e'
UNION ALL SELECT concat_ws(' ', 'trigger', n.nspname, c.relname, g.tgname) FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname %[1]s AND NOT g.tgisinternal`

// inPostgres reads again where a table goes away between the list and the look, as those of a killed process do.
func (w *world) inPostgres(t testing.TB, schemas, roles string) []string {
	t.Helper()
	for range 10 {
		lines, err := w.readPostgres(schemas, roles)
		var pg *pgconn.PgError
		if err == nil {
			return lines
		}
		if !errors.As(err, &pg) || pg.Code != "42P01" {
			t.Fatal(err)
		}
	}
	t.Fatal("tables keep going away")
	return nil
}

func (w *world) readPostgres(schemas, roles string) ([]string, error) {
	lines, err := w.read(fmt.Sprintf(shapes, schemas, roles))
	if err != nil {
		return nil, err
	}
	// goose's own table also holds when and in which order versions came and went, in which equal tenants differ.
	tables, err := w.read(`SELECT format('SELECT %L || row_to_json(x)::text FROM %s x', n.nspname || '.' || c.relname || ' ',
			CASE WHEN c.relname = 'goose_db_version' AND n.nspname <> 'tenantctl'
				THEN format('(SELECT version_id, count(*) FROM %I.%I GROUP BY version_id)', n.nspname, c.relname) ELSE format('%I.%I', n.nspname, c.relname) END)
		FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname ` + schemas + ` AND c.relkind = 'r'`)
	if err != nil {
		return nil, err
	}
	for _, sql := range tables {
		rows, err := w.read(sql)
		if err != nil {
			return nil, err
		}
		lines = append(lines, rows...)
	}
	slices.Sort(lines)
	return lines, nil
}

// column is the one column of a query, as text.
func (w *world) column(t testing.TB, sql string, args ...any) []string {
	t.Helper()
	out, err := w.read(sql, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (w *world) read(sql string, args ...any) ([]string, error) {
	rows, err := w.pg.Query(context.Background(), sql, args...)
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, sql)
	}
	out, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, sql)
	}
	return out, nil
}

func (w *world) inMongoDB(t testing.TB, db string) []string {
	t.Helper()
	ctx := context.Background()
	lines := []string{"database " + db}
	collections, err := w.mongo.Database(db).ListCollectionNames(ctx, bson.D{})
	if err != nil {
		t.Fatalf("list collections: %v", err)
	}
	for _, name := range collections {
		c := w.mongo.Database(db).Collection(name)
		read := func(what string, cursor *mongo.Cursor, err error) {
			var docs []bson.Raw
			if err == nil {
				err = cursor.All(ctx, &docs)
			}
			if err != nil {
				t.Fatalf("read %s of %s: %v", what, name, err)
			}
			for _, d := range docs {
				lines = append(lines, strings.Join([]string{what, db, name, d.String()}, " "))
			}
		}
		indexes, err := c.Indexes().List(ctx)
		read("index", indexes, err)
		documents, err := c.Find(ctx, bson.D{})
		read("document", documents, err)
		lines = append(lines, "collection "+db+" "+name)
	}
	slices.Sort(lines)
	return lines
}

// usersOf are the MongoDB users of one database, or of all of this world's.
func (w *world) usersOf(place string) []string {
	if w.users == nil {
		return nil
	}
	var lines []string
	for _, u := range w.users.Users() {
		if place == "" && strings.HasPrefix(u.DB, w.prefix) || u.DB == place {
			lines = append(lines, fmt.Sprintf("user %s of %s with roles %v for %v", u.Name, u.DB, u.Roles, u.CustomData))
		}
	}
	return lines
}

// differences are the lines that only one of two states has.
func differences(before, after []string) string {
	var out []string
	for _, l := range before {
		if !slices.Contains(after, l) {
			out = append(out, "- "+l)
		}
	}
	for _, l := range after {
		if !slices.Contains(before, l) {
			out = append(out, "+ "+l)
		}
	}
	return strings.Join(out, "\n")
}
