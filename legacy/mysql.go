package legacy

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	neturl "net/url"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/go-sql-driver/mysql"

	"github.com/tenantctl/tenantctl/tenant"
)

// mysqlSource reads from MySQL and MariaDB.
type mysqlSource struct {
	name  string
	limit int // connections
	db    *sql.DB
	maria bool

	mu         sync.Mutex
	tables     map[string]*sourceTable
	collations map[string][2]string // character set and collation of "table.column"
	queries    map[string]tableQuery
	snap       *mysqlSnapshot
}

// mysqlSnapshot is connections that all see the same moment.
type mysqlSnapshot struct {
	free chan *sql.Conn
	mu   sync.Mutex
	live int
	dead chan struct{} // closed when the last connection broke
}

// mysqlNo has the numbers of errors that mean something to tenantctl.
const (
	mysqlAccessDenied = 1045
	mysqlNoDatabase   = 1049
	mysqlNoColumn     = 1054
	mysqlSyntax       = 1064
	mysqlNoTable      = 1146
	mysqlTooMany      = 1040
	mysqlNeedsRight   = 1227
	mysqlDBDenied     = 1044
	mysqlTableDenied  = 1142
	mysqlManyRows     = 1242
	mysqlNoFunction   = 1305
)

// openMySQL connects to the server that a URL names, as in mysql://user:password@host:3306/database.
func openMySQL(ctx context.Context, spec *SourceSpec, url, name string) (source, error) {
	cfg, err := mysqlConfig(url)
	if err != nil {
		return nil, &tenant.Error{Kind: tenant.ErrInvalid, Store: "source " + name, Msg: err.Error(), Hint: "write it as mysql://user:password@host:3306/database, with special characters percent-encoded"}
	}
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, &tenant.Error{Kind: tenant.ErrInvalid, Store: "source " + name, Msg: "the URL cannot be used", Hint: "check its parameters", Err: err}
	}
	s := &mysqlSource{name: name, limit: spec.MaxConnections, db: sql.OpenDB(connector), tables: map[string]*sourceTable{}, collations: map[string][2]string{}}
	if s.limit <= 0 {
		s.limit = 4
	}
	// One more than the snapshot holds, which looks at the tables.
	s.db.SetMaxOpenConns(s.limit + 1)
	s.db.SetMaxIdleConns(1)
	var version string
	if err := s.db.QueryRowContext(ctx, "SELECT VERSION()").Scan(&version); err != nil {
		_ = s.db.Close() // the first error is the one to tell
		return nil, s.failed("connect", err)
	}
	s.maria = strings.Contains(version, "MariaDB")
	return s, nil
}

// mysqlConfig reads a URL. Its errors quote nothing of it, which may be the password.
func mysqlConfig(url string) (*mysql.Config, error) {
	u, err := neturl.Parse(url)
	if err != nil || u.Scheme != "mysql" && u.Scheme != "mariadb" {
		return nil, errors.New("the URL is not a MySQL connection string")
	}
	cfg, err := mysql.ParseDSN("/?" + u.RawQuery)
	if err != nil {
		return nil, errors.New("the URL has a parameter that the driver does not take")
	}
	if cfg.User = u.User.Username(); cfg.User == "" {
		return nil, errors.New("the URL names no user")
	}
	cfg.Passwd, _ = u.User.Password() // a user may have none
	if cfg.DBName = strings.TrimPrefix(u.Path, "/"); cfg.DBName == "" {
		return nil, errors.New("the URL names no database")
	}
	host, port := u.Hostname(), u.Port()
	if host == "" {
		host = "127.0.0.1"
	}
	if port == "" {
		port = "3306"
	}
	cfg.Net, cfg.Addr = "tcp", net.JoinHostPort(host, port)
	// The driver would write of broken connections to the terminal; its errors say the same.
	cfg.Logger = log.New(io.Discard, "", 0)
	cfg.ParseTime, cfg.MultiStatements, cfg.AllowAllFiles, cfg.InterpolateParams = false, false, false, true
	cfg.MaxAllowedPacket = 1 << 30
	if cfg.Params == nil {
		cfg.Params = map[string]string{}
	}
	maps.Copy(cfg.Params, mysqlSettings)
	return cfg, cfg.Apply(mysql.Charset("utf8mb4", ""))
}

func (s *mysqlSource) failed(verb string, err error) error {
	var ours *tenant.Error
	if err == nil || errors.As(err, &ours) {
		return err
	}
	e := &tenant.Error{Store: "source " + s.name, Err: err}
	var answer *mysql.MySQLError
	if !errors.As(err, &answer) {
		if errors.Is(err, mysql.ErrInvalidConn) || errors.Is(err, sql.ErrConnDone) || errors.Is(err, io.ErrUnexpectedEOF) {
			e.Msg, e.Hint = verb+": the connection broke", "run the same command again: it goes on from the last checkpoint"
			return e
		}
		return storeError("source "+s.name, verb, err)
	}
	e.Code = string(answer.SQLState[:])
	e.Msg = fmt.Sprintf("%s: %s (error %d)", verb, answer.Message, answer.Number)
	switch answer.Number {
	case mysqlAccessDenied:
		e.Kind, e.Msg, e.Hint = tenant.ErrUnreachable, verb+": the server does not let the user in", "check the URL's user and password"
	case mysqlNoDatabase:
		e.Kind, e.Hint = tenant.ErrUnreachable, "check the URL's database"
	case mysqlTooMany:
		e.Kind, e.Hint = tenant.ErrUnreachable, "lower max_connections of the source"
	case mysqlNeedsRight, mysqlDBDenied, mysqlTableDenied:
		e.Kind, e.Hint = tenant.ErrRights, "GRANT it to the user that the URL names"
	case mysqlNoColumn, mysqlSyntax, mysqlNoTable, mysqlNoFunction:
		e.Kind, e.Hint = tenant.ErrInvalid, "check the names and expressions in the mapping"
	case mysqlManyRows:
		e.Kind, e.Hint = tenant.ErrInvalid, "a lookup found several rows: match columns that are unique together"
	}
	return e
}

func (s *mysqlSource) close() {
	s.end()
	_ = s.db.Close() // nothing was written
}

// quoteMySQL is a name as SQL writes it.
func quoteMySQL(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// mysqlLiteral is a text as SQL writes it.
func mysqlLiteral(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `''`, "\x00", `\0`, "\x1a", `\Z`).Replace(text) + "'"
}

func (s *mysqlSource) describe(ctx context.Context, names []string) ([]*sourceTable, error) {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return nil, s.failed("connect", err)
	}
	defer func() { _ = conn.Close() }() // it goes back to the pool; nothing was written
	var out []*sourceTable
	byName := map[string]*sourceTable{}
	err = mysqlRows(ctx, conn, `SELECT TABLE_NAME, TABLE_TYPE NOT IN ('BASE TABLE', 'SYSTEM VERSIONED'), COALESCE(TABLE_ROWS, 0), COALESCE(DATA_LENGTH, 0)
		FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE <> 'SEQUENCE' ORDER BY TABLE_NAME`, func(scan func(...any) error) error {
		t := &sourceTable{}
		if err := scan(&t.name, &t.view, &t.rows, &t.bytes); err != nil {
			return err
		}
		if names == nil || slices.Contains(names, t.name) {
			byName[t.name] = t
			out = append(out, t)
		}
		return nil
	})
	if err == nil {
		err = s.describeColumns(ctx, conn, byName)
	}
	if err == nil {
		err = describeMySQLKeys(ctx, conn, byName)
	}
	if err == nil {
		var defined []*sourceTable
		defined, err = s.describeQueries(ctx, conn, names)
		out = append(out, defined...)
	}
	if err != nil {
		return nil, s.failed("look at the tables", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range out {
		s.tables[t.name] = t
	}
	return out, nil
}

// mysqlRows runs a query and gives each of its rows to be scanned.
func mysqlRows(ctx context.Context, conn *sql.Conn, query string, yield func(scan func(...any) error) error) error {
	rows, err := conn.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }() // what went wrong was told by yield or rows.Err
	for rows.Next() {
		if err := yield(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (s *mysqlSource) describeColumns(ctx context.Context, conn *sql.Conn, tables map[string]*sourceTable) error {
	var table, dataType, charset, collation string
	var c sourceColumn
	err := mysqlRows(ctx, conn, `SELECT TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, DATA_TYPE, IS_NULLABLE = 'NO', COALESCE(LEAST(CHARACTER_MAXIMUM_LENGTH, 1000000000), 0),
			COALESCE(CHARACTER_SET_NAME, ''), COALESCE(COLLATION_NAME, '')
		FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() ORDER BY TABLE_NAME, ORDINAL_POSITION`, func(scan func(...any) error) error {
		if err := scan(&table, &c.name, &c.typ, &dataType, &c.notNull, &c.length, &charset, &collation); err != nil {
			return err
		}
		c.kind = mysqlKind(dataType, c.typ)
		if c.kind != kindText || strings.HasSuffix(dataType, "text") {
			c.length = 0
		}
		c.labels = nil
		if dataType == "enum" {
			c.labels = enumLabels(c.typ)
		}
		if t := tables[table]; t != nil {
			t.columns = append(t.columns, c)
			s.mu.Lock()
			s.collations[table+"."+c.name] = [2]string{charset, collation}
			s.mu.Unlock()
		}
		return nil
	})
	if err != nil || !s.maria {
		return err
	}
	// JSON is a text with a check there.
	var clause string
	return mysqlRows(ctx, conn, `SELECT TABLE_NAME, CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS
		WHERE CONSTRAINT_SCHEMA = DATABASE() AND CHECK_CLAUSE LIKE 'json_valid(%'`, func(scan func(...any) error) error {
		if err := scan(&table, &clause); err != nil {
			return err
		}
		if t := tables[table]; t != nil {
			for i := range t.columns {
				if c := &t.columns[i]; clause == "json_valid("+quoteMySQL(c.name)+")" {
					c.kind, c.typ = kindJSON, "json"
				}
			}
		}
		return nil
	})
}

var enumLabel = regexp.MustCompile(`'((?:[^']|'')*)'`)

// enumLabels are those of a type such as enum('a','b').
func enumLabels(typ string) []string {
	var labels []string
	for _, m := range enumLabel.FindAllStringSubmatch(typ, -1) {
		labels = append(labels, strings.ReplaceAll(m[1], "''", "'"))
	}
	return labels
}

// mysqlKind is the kind of a type, such as "tinyint" written as "tinyint(1) unsigned".
func mysqlKind(dataType, full string) kind {
	switch dataType {
	case "tinyint", "bit":
		if strings.HasPrefix(full, "tinyint(1)") || full == "bit(1)" {
			return kindBool
		}
		return kindInt
	case "smallint", "mediumint", "int", "bigint", "year":
		return kindInt
	case "decimal":
		return kindDecimal
	case "float", "double":
		return kindFloat
	case "char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set":
		return kindText
	case "date":
		return kindDate
	case "time":
		return kindTime
	case "datetime":
		return kindTimestamp
	case "timestamp":
		return kindInstant
	case "json":
		return kindJSON
	case "uuid":
		return kindUUID
	case "binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob":
		return kindBytes
	}
	return kindOther
}

func describeMySQLKeys(ctx context.Context, conn *sql.Conn, tables map[string]*sourceTable) error {
	var table, name, column string
	lastTable, lastName := "", ""
	err := mysqlRows(ctx, conn, `SELECT TABLE_NAME, INDEX_NAME, COLUMN_NAME FROM information_schema.STATISTICS
		WHERE TABLE_SCHEMA = DATABASE() AND NON_UNIQUE = 0 AND COLUMN_NAME IS NOT NULL ORDER BY TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX`, func(scan func(...any) error) error {
		if err := scan(&table, &name, &column); err != nil {
			return err
		}
		first := table != lastTable || name != lastName
		lastTable, lastName = table, name
		t := tables[table]
		switch {
		case t == nil:
		case name == "PRIMARY":
			t.primaryKey = append(t.primaryKey, column)
		case first:
			t.unique = append(t.unique, []string{column})
		default:
			last := &t.unique[len(t.unique)-1]
			*last = append(*last, column)
		}
		return nil
	})
	if err != nil {
		return err
	}
	var other, reference string
	lastTable, lastName = "", ""
	return mysqlRows(ctx, conn, `SELECT TABLE_NAME, CONSTRAINT_NAME, COLUMN_NAME, REFERENCED_TABLE_NAME, REFERENCED_COLUMN_NAME FROM information_schema.KEY_COLUMN_USAGE
		WHERE TABLE_SCHEMA = DATABASE() AND REFERENCED_TABLE_SCHEMA = DATABASE() ORDER BY TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION`, func(scan func(...any) error) error {
		if err := scan(&table, &name, &column, &other, &reference); err != nil {
			return err
		}
		t := tables[table]
		if t == nil {
			return nil
		}
		if table != lastTable || name != lastName {
			t.foreignKeys = append(t.foreignKeys, foreignKey{name: name, table: other})
			lastTable, lastName = table, name
		}
		f := &t.foreignKeys[len(t.foreignKeys)-1]
		f.columns, f.references = append(f.columns, column), append(f.references, reference)
		return nil
	})
}

// table is what is known of a table, described when it is first asked for.
func (s *mysqlSource) table(ctx context.Context, name string) (*sourceTable, error) {
	s.mu.Lock()
	t := s.tables[name]
	s.mu.Unlock()
	if t != nil {
		return t, nil
	}
	found, err := s.describe(ctx, []string{name})
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, tenant.Invalid("check the mapping", "source %s has no table %s", s.name, name)
	}
	return found[0], nil
}
