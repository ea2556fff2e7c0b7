// Command probe is the demo's stand-in for a tenant's application: it connects with a URL, runs one SQL statement or one
// database command in Extended JSON, and prints what it got. What the server refuses is printed, and the exit code is 1.
//
//	probe postgres://... 'select email from customers'
//	probe mongodb://... '{"count": "documents"}'
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/connstring"
)

const timeout = 20 * time.Second

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: probe URL STATEMENT")
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	run := inPostgres
	if strings.HasPrefix(os.Args[1], "mongodb") {
		run = inMongoDB
	}
	if err := run(ctx, os.Args[1], os.Args[2]); err != nil {
		fmt.Println("ERROR:", reason(err))
		os.Exit(1)
	}
}

// inPostgres prints a row to a line, its values separated by tabs.
func inPostgres(ctx context.Context, url, statement string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, statement)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			return err
		}
		for i, v := range values {
			if i > 0 {
				fmt.Print("\t")
			}
			fmt.Print(v)
		}
		fmt.Println()
	}
	return rows.Err()
}

// inMongoDB runs a command in the URL's database and prints the documents, or the number, that it answers with.
func inMongoDB(ctx context.Context, url, statement string) error {
	cs, err := connstring.ParseAndValidate(url)
	if err != nil {
		return err
	}
	var command bson.D
	if err := bson.UnmarshalExtJSON([]byte(statement), false, &command); err != nil {
		return err
	}
	client, err := mongo.Connect(options.Client().ApplyURI(url))
	if err != nil {
		return err
	}
	var reply struct {
		N         int `bson:"n"`
		Databases []struct {
			Name string `bson:"name"`
		} `bson:"databases"`
		Cursor *struct {
			FirstBatch []bson.D `bson:"firstBatch"`
		} `bson:"cursor"`
	}
	err = client.Database(cmp.Or(cs.Database, "admin")).RunCommand(ctx, command).Decode(&reply)
	if err := errors.Join(err, client.Disconnect(context.WithoutCancel(ctx))); err != nil {
		return err
	}
	switch {
	case reply.Cursor != nil:
		for _, d := range reply.Cursor.FirstBatch {
			fmt.Println(d)
		}
	case command[0].Key == "listDatabases":
		for _, db := range reply.Databases {
			fmt.Println(db.Name)
		}
	default:
		fmt.Println(reply.N)
	}
	return nil
}

// reason is what the server said, without the driver's words before it.
func reason(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return fmt.Sprintf("%s (SQLSTATE %s)", pg.Message, pg.Code)
	}
	var command mongo.CommandError
	if errors.As(err, &command) {
		return fmt.Sprintf("%s (%s)", command.Message, command.Name)
	}
	return err.Error()
}
