package migrationfile

import (
	"context"
	"database/sql/driver"
	"errors"
)

// recorder is a database that writes down what it is told and does nothing: it shows what goose would send.
type recorder struct {
	sent  []sent
	begun bool // a transaction was begun
}

// sent is a statement with its parameters.
type sent struct {
	sql  string
	args []driver.NamedValue
}

var (
	_ driver.Connector     = (*recorder)(nil)
	_ driver.ExecerContext = (*recorder)(nil)
	_ driver.ConnBeginTx   = (*recorder)(nil)
)

var errRecordsOnly = errors.New("the recorder answers no queries")

func (r *recorder) Connect(context.Context) (driver.Conn, error) { return r, nil }
func (r *recorder) Driver() driver.Driver                        { return nil }
func (r *recorder) Prepare(string) (driver.Stmt, error)          { return nil, errRecordsOnly }
func (r *recorder) Begin() (driver.Tx, error)                    { return nil, errRecordsOnly }
func (r *recorder) Commit() error                                { return nil }
func (r *recorder) Rollback() error                              { return nil }
func (r *recorder) Close() error                                 { return nil }

func (r *recorder) BeginTx(context.Context, driver.TxOptions) (driver.Tx, error) {
	r.begun = true
	return r, nil
}

func (r *recorder) ExecContext(_ context.Context, sql string, args []driver.NamedValue) (driver.Result, error) {
	r.sent = append(r.sent, sent{sql, args})
	return driver.ResultNoRows, nil
}
