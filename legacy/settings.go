package legacy

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/tenant"
)

// sameTextSettings make values the same text on both sides, whatever the servers, databases and roles are set to.
var sameTextSettings = map[string]string{
	"TimeZone": "UTC", "DateStyle": "ISO, MDY", "IntervalStyle": "postgres", "extra_float_digits": "3", "bytea_output": "hex",
	"lc_monetary": "C", "xmloption": "content", "array_nulls": "on", "standard_conforming_strings": "on",
	// Rows that a policy would hide are an error, as they are for pg_dump.
	"row_security":      "off",
	"statement_timeout": "0", "lock_timeout": "0", "idle_in_transaction_session_timeout": "0",
}

// sessionSettings are those of a source's sessions.
var sessionSettings = func() map[string]string {
	all := maps.Clone(sameTextSettings)
	all["application_name"] = "tenantctl"
	// Blocks are read in their order: a part is a stretch of them. No index gives only some of its rows.
	all["synchronize_seqscans"], all["gin_fuzzy_search_limit"] = "off", "0"
	return all
}()

// localSettings are those of a transaction in the target.
var localSettings = func() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(sameTextSettings)) {
		fmt.Fprintf(&b, "SET LOCAL %s = %s; ", name, literal(sameTextSettings[name]))
	}
	return b.String() + "SET LOCAL client_encoding = 'UTF8'; "
}()

// immediateConstraints are reported at the row that breaks them.
const immediateConstraints = "SET CONSTRAINTS ALL IMMEDIATE; "

// beginReading begins a transaction in the source, in a snapshot where one is named, and makes sure that the session has the
// settings that were asked for: a pooler in between may have lost them.
func (s *postgresSource) beginReading(ctx context.Context, conn *pgxpool.Conn, snapshot string) error {
	begin := "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
	if snapshot != "" {
		begin += "; SET TRANSACTION SNAPSHOT " + literal(snapshot)
	}
	if _, err := conn.Exec(ctx, begin); err != nil {
		return err
	}
	rows, err := conn.Query(ctx, `SELECT name, setting FROM pg_settings WHERE name = ANY($1)`, slices.Collect(maps.Keys(s.settings)))
	if err != nil {
		return err
	}
	var name, value string
	_, err = pgx.ForEachRow(rows, []any{&name, &value}, func() error {
		if value != s.settings[name] {
			return sessionLost(s.name, name, s.settings[name], value)
		}
		return nil
	})
	return err
}

func sessionLost(source, name, want, value string) error {
	return &tenant.Error{
		Kind: tenant.ErrUnsupported, Store: "source " + source,
		Msg:  fmt.Sprintf("the session has %s = %q in place of %q, which changes what is read", name, value, want),
		Hint: "connect to the server itself, not through a pooler or proxy",
	}
}

// mysqlSettings are those of a source's sessions, as SQL writes them.
var mysqlSettings = map[string]string{
	"time_zone": "'+00:00'",
	// Without ANSI_QUOTES and NO_BACKSLASH_ESCAPES, which change what literals mean, and PAD_CHAR_TO_FULL_LENGTH.
	"sql_mode": "''",
	// All rows of a query, and no row for the id that was inserted last.
	"sql_select_limit": "18446744073709551615", "sql_big_selects": "1", "sql_auto_is_null": "0",
	// A loader that waits for its own server must not end the stream.
	"net_write_timeout": "86400", "net_read_timeout": "86400", "wait_timeout": "86400",
	"group_concat_max_len": "1073741824",
}

// mysqlAsserted are the settings that decide what is read, with what a session shows of them.
var mysqlAsserted = map[string]string{
	"time_zone": "+00:00", "sql_mode": "", "sql_select_limit": "18446744073709551615", "sql_auto_is_null": "0",
	"character_set_client": "utf8mb4", "character_set_connection": "utf8mb4", "character_set_results": "utf8mb4",
}

// assertSession makes sure that a session has the settings that were asked for.
func (s *mysqlSource) assertSession(ctx context.Context, conn *sql.Conn) error {
	names := slices.Sorted(maps.Keys(mysqlAsserted))
	values, dest := make([]sql.NullString, len(names)), make([]any, len(names))
	for i := range values {
		dest[i] = &values[i]
	}
	if err := conn.QueryRowContext(ctx, "SELECT @@SESSION."+strings.Join(names, ", @@SESSION.")).Scan(dest...); err != nil {
		return err
	}
	for i, name := range names {
		if values[i].String != mysqlAsserted[name] {
			return sessionLost(s.name, name, mysqlAsserted[name], values[i].String)
		}
	}
	return nil
}
