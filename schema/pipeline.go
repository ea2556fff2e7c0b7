package schema

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/tenantctl/tenantctl/tenant"
)

// query is what the server takes as one message: commands of ours together, a statement of a file by itself. Those of
// one message have one statement_timestamp(), are cut into statements before the first is run, and are one current_query().
type query struct {
	commands []command
	text     string
}

// queriesOf puts commands into as few messages as may be.
func queriesOf(commands []command) []query {
	var all []query
	var text strings.Builder
	from := 0
	end := func(to int) {
		if to > from {
			all = append(all, query{commands[from:to], text.String()})
		}
		from = to
		text.Reset()
	}
	for i, c := range commands {
		if c.own {
			end(i)
			text.WriteString(c.sql)
			end(i + 1)
			continue
		}
		text.WriteString(c.sql)
		text.WriteString("\n;\n") // on lines of its own, since c.sql may end in a comment
	}
	end(len(commands))
	return all
}

// Messages are sent without waiting for what the server says to those before, as long as they fit into what the
// connection buffers: neither side then waits for the other to read.
const (
	bufferedBytes    = 32 << 10
	bufferedMessages = 128
)

// unanswered is how many messages are sent before the first is answered. A string that ends elsewhere under another
// standard_conforming_strings could hold a COMMIT: after it, the rest waits until the transaction is seen to go on.
func unanswered(all []query) int {
	size := 0
	for i, m := range all {
		size += len(m.text)
		if i > 0 && size > bufferedBytes || i == bufferedMessages {
			return i
		}
		if strings.Contains(m.text, `\'`) {
			return i + 1
		}
	}
	return len(all)
}

// pipeline sends messages of one transaction at once. After an error the server runs none of them, and takes a COMMIT
// for a ROLLBACK.
func pipeline(ctx context.Context, conn *pgconn.PgConn, all []query) error {
	for _, m := range all {
		conn.Frontend().SendQuery(&pgproto3.Query{String: m.text})
	}
	if err := conn.Frontend().Flush(); err != nil {
		_ = conn.Close(ctx)
		return all[0].failure(err)
	}
	var failed error
	for i, m := range all {
		err, broken := m.receive(ctx, conn)
		if failed == nil {
			failed = err
		}
		if broken {
			return failed
		}
		if failed == nil && i < len(all)-1 && conn.TxStatus() != 'T' {
			failed = m.ended()
		}
	}
	return failed
}

// receive takes the results of a query that was sent. broken tells that none can come any more.
func (m query) receive(ctx context.Context, conn *pgconn.PgConn) (failed error, broken bool) {
	at := resultCounter{commands: m.commands}
	for {
		said, err := conn.ReceiveMessage(ctx)
		if err != nil {
			if failed == nil {
				failed = at.failure(err)
			}
			if !conn.IsClosed() { // what is still to come would be taken for answers to what is sent next
				_ = conn.Close(ctx)
			}
			return failed, true
		}
		at.next()
		switch said := said.(type) {
		case *pgproto3.DataRow:
			at.row(said.Values)
		case *pgproto3.CommandComplete, *pgproto3.EmptyQueryResponse:
			at.given++
		case *pgproto3.ErrorResponse:
			failed = at.failure(pgconn.ErrorResponseToPgError(said))
		case *pgproto3.CopyInResponse:
			conn.Frontend().Send(&pgproto3.CopyFail{Message: "there is no input"})
			if err := conn.Frontend().Flush(); err != nil {
				_ = conn.Close(ctx)
				return at.failure(err), true
			}
		case *pgproto3.ReadyForQuery:
			return failed, false
		}
	}
}

func (m query) failure(err error) error { return (&resultCounter{commands: m.commands}).failure(err) }

// ended is the error of a query after which there is no transaction any more.
func (m query) ended() error {
	return m.failure(&tenant.Error{
		Kind: tenant.ErrMigration, Store: tenant.KindPostgres, Msg: "the statement ends the transaction of the file",
		Hint: "take out COMMIT and the like, or mark the file '-- +goose NO TRANSACTION'",
	})
}
