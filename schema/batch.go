package schema

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tenantctl/tenantctl/schema/migrationfile"
)

// command is SQL sent as a part of a round trip.
type command struct {
	sql   string
	of    *migrationfile.Statement // the migration's statement that it is, if it is one
	count int                      // how many results the server gives for it; 1 where of is nil
	alone bool                     // it is sent in a message of its own, in which the server takes exactly one statement
	own   bool                     // it is a message of its own, as goose sends it
	row   func(row [][]byte)       // takes the rows, in text format; they are dropped where it is nil
}

// cmd is a command that the server answers with one result.
func cmd(format string, args ...any) command {
	return command{sql: fmt.Sprintf(format, args...), count: 1}
}

// refusedCommand is the command that failed, and where in it.
type refusedCommand struct {
	command
	line int // lines after its first
	err  error
}

func (r *refusedCommand) Error() string { return r.err.Error() }
func (r *refusedCommand) Unwrap() error { return r.err }

// send gives the server all commands and tells which one fails. What the server would do for one after another it does
// here too: those after a failure are not run.
func send(ctx context.Context, conn *pgconn.PgConn, commands []command) error {
	for len(commands) > 0 {
		n := 1
		for n < len(commands) && commands[n].alone == commands[0].alone {
			n++
		}
		to := sendTogether
		if commands[0].alone {
			to = sendAlone
		}
		if err := to(ctx, conn, commands[:n]); err != nil {
			return err
		}
		commands = commands[n:]
	}
	return nil
}

// sendAlone gives the server commands by the extended protocol, which refuses a command that is several statements. It
// does not wait for one before it sends the next.
func sendAlone(ctx context.Context, conn *pgconn.PgConn, commands []command) error {
	p := conn.StartPipeline(ctx)
	for _, c := range commands {
		p.SendQueryParams(c.sql, nil, nil, nil, nil)
	}
	err := p.Sync()
	for _, c := range commands {
		if err != nil {
			break
		}
		var results any
		if results, err = p.GetResults(); err == nil {
			if rows, ok := results.(*pgconn.ResultReader); ok {
				_, err = rows.Close()
			}
		}
		if err != nil {
			failed := &refusedCommand{command: c, err: err}
			var pg *pgconn.PgError
			if errors.As(err, &pg) && pg.Position > 0 {
				failed.locate([]command{c}, int(pg.Position)-1)
			}
			err = failed
		}
	}
	if closing := p.Close(); err == nil {
		err = closing
	}
	return err
}

// sendTogether gives the server commands by the simple protocol, in as few messages as may be.
func sendTogether(ctx context.Context, conn *pgconn.PgConn, commands []command) error {
	messages := queriesOf(commands)
	for len(messages) > 0 {
		n := unanswered(messages)
		var err error
		if n == 1 {
			err = messages[0].exchange(ctx, conn)
		} else {
			err = pipeline(ctx, conn, messages[:n])
		}
		if err == nil && len(messages) > n && conn.TxStatus() != 'T' {
			err = messages[n-1].ended()
		}
		if err != nil {
			return err
		}
		messages = messages[n:]
	}
	return nil
}

// exchange sends one message and waits for all of its results.
func (m query) exchange(ctx context.Context, conn *pgconn.PgConn) error {
	results := conn.Exec(ctx, m.text)
	at := resultCounter{commands: m.commands}
	for results.NextResult() {
		at.next()
		rows := results.ResultReader()
		for rows.NextRow() {
			at.row(rows.Values())
		}
		if _, err := rows.Close(); err == nil {
			at.given++
		}
	}
	return at.failure(results.Close())
}

// resultCounter follows which command the results are of that come.
type resultCounter struct {
	commands  []command
	at, given int // the command whose results are coming, and how many of them came
}

func (c *resultCounter) next() {
	for c.at < len(c.commands) && c.given == c.commands[c.at].count {
		c.at, c.given = c.at+1, 0
	}
}

func (c *resultCounter) row(values [][]byte) {
	if c.at < len(c.commands) && c.commands[c.at].row != nil {
		c.commands[c.at].row(values)
	}
}

// failure puts an error down to the command whose results were to come.
func (c *resultCounter) failure(err error) error {
	if err == nil {
		return nil
	}
	for c.at < len(c.commands)-1 && c.given == c.commands[c.at].count {
		c.at, c.given = c.at+1, 0
	}
	failed := &refusedCommand{command: c.commands[min(c.at, len(c.commands)-1)], err: err}
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Position > 0 {
		failed.locate(c.commands, int(pg.Position)-1)
	}
	return failed
}

// locate finds the command by the place in the text that the server complains of, counted in characters.
func (r *refusedCommand) locate(commands []command, position int) {
	for _, c := range commands {
		length := utf8.RuneCountInString(c.sql)
		if position < length {
			r.command = c
			r.line = strings.Count(string([]rune(c.sql)[:position]), "\n")
			return
		}
		position -= length + len("\n;\n")
	}
}

// quote writes a name as SQL.
func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

// text writes a string as SQL.
func text(s string) string {
	quoted := "'" + strings.ReplaceAll(s, "'", "''") + "'"
	if strings.Contains(s, `\`) {
		return " E" + strings.ReplaceAll(quoted, `\`, `\\`)
	}
	return quoted
}
