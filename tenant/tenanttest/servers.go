// Package tenanttest holds what proves a store: a conformance suite for every Resource, faults at every point of
// one, and real servers to try them on.
package tenanttest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tenantctl/tenantctl/migrations"
)

const howToRun = "the tests need real servers: run them with `make test`"

// Prefix is a naming prefix that no other test uses, for servers that tests share.
func Prefix(t testing.TB) string {
	t.Helper()
	b := make([]byte, 4)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return "t" + hex.EncodeToString(b) + "_"
}

// SuperuserURL is the URL of the shared PostgreSQL server with every right.
func SuperuserURL(t testing.TB) string {
	t.Helper()
	u := os.Getenv("TENANTCTL_POSTGRES_URL")
	if u == "" {
		t.Fatal("TENANTCTL_POSTGRES_URL is not set: " + howToRun)
	}
	return u
}

// MongoURL is the URL of the shared MongoDB-protocol server.
func MongoURL(t testing.TB) string {
	t.Helper()
	u := os.Getenv("TENANTCTL_NOSQL_URL")
	if u == "" {
		t.Fatal("TENANTCTL_NOSQL_URL is not set: " + howToRun)
	}
	return u
}

// Postgres makes a database of this test's own and a provisioner for it by migrations/roles/provisioner.sql, which owns
// nothing and is no superuser, and returns the provisioner's URL. At the end the database goes, and with it every role
// whose name begins with prefix.
func Postgres(t testing.TB, prefix string) string {
	t.Helper()
	ctx := context.Background()
	super := SuperuserURL(t)
	conn, err := pgx.Connect(ctx, super)
	if err != nil {
		t.Fatalf("connect to PostgreSQL: %v", err)
	}
	db, user, password := prefix+"db", prefix+"provisioner", "provisioner-secret"
	if _, err := conn.Exec(ctx, "CREATE DATABASE "+db); err != nil {
		t.Fatalf("make a database for the test: %v", err)
	}
	if err := conn.Close(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		conn, err := pgx.Connect(ctx, super) // anew: the test may have restarted the server
		if err != nil {
			t.Errorf("connect to PostgreSQL: %v", err)
			return
		}
		defer conn.Close(ctx)
		if _, err := conn.Exec(ctx, fmt.Sprintf("DROP DATABASE %s WITH (FORCE)", db)); err != nil {
			t.Errorf("drop the test's database: %v", err)
		}
		rows, err := conn.Query(ctx, `SELECT quote_ident(rolname) FROM pg_roles WHERE starts_with(rolname, $1)`, prefix)
		if err != nil {
			t.Errorf("list the test's roles: %v", err)
			return
		}
		roles, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Errorf("list the test's roles: %v", err)
		}
		for _, r := range roles {
			if _, err := conn.Exec(ctx, "DROP ROLE "+r); err != nil {
				t.Errorf("drop a role of the test: %v", err)
			}
		}
	})
	u, err := url.Parse(super)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + db
	provision(t, u.String(), map[string]string{"role": user, "database": db, "password": password})
	u.User = url.UserPassword(user, password)
	return u.String()
}

// provision runs the SQL that makes a provisioner, with variables as psql puts them in.
func provision(t testing.TB, address string, variables map[string]string) {
	t.Helper()
	sql := migrations.Provisioner
	for name, value := range variables {
		sql = strings.ReplaceAll(sql, `:"`+name+`"`, pgx.Identifier{value}.Sanitize())
		sql = strings.ReplaceAll(sql, `:'`+name+`'`, "'"+strings.ReplaceAll(value, "'", "''")+"'")
	}
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, address)
	if err != nil {
		t.Fatalf("connect to PostgreSQL: %v", err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, sql); err != nil {
		t.Fatalf("make a provisioner for the test: %v", err)
	}
}
