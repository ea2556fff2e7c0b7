package cmd_test

import (
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/rogpeppe/go-internal/testscript"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/tenantctl/tenantctl/tenant/tenanttest"
	"github.com/tenantctl/tenantctl/tenant/tenanttest/mongoproxy"
)

// scriptFake puts a stand-in in place of a server, for the rest of the script.
func scriptFake(ts *testscript.TestScript, _ bool, args []string) {
	s := scriptOf(ts)
	if len(args) != 1 {
		ts.Fatalf("usage: fake WHAT")
	}
	switch args[0] {
	case "users": // a MongoDB that keeps users
		s.keepUsers(s.t)
		ts.Setenv("TENANTCTL_NOSQL_URL", s.mongodb)
	case "old-mongodb": // 4.0
		p := mongoproxy.Start(s.t, s.mongodb)
		p.Hello(func(d bson.D) bson.D {
			return mongoproxy.Set(mongoproxy.Set(d, "maxWireVersion", int32(7)), "minWireVersion", int32(0))
		})
		ts.Setenv("TENANTCTL_NOSQL_URL", p.URL())
	case "mongodb-replica":
		p := mongoproxy.Start(s.t, s.mongodb)
		p.Hello(func(d bson.D) bson.D {
			d = mongoproxy.Set(mongoproxy.Set(d, "isWritablePrimary", false), "ismaster", false)
			return mongoproxy.Set(mongoproxy.Set(d, "secondary", true), "setName", "rs0")
		})
		ts.Setenv("TENANTCTL_NOSQL_URL", p.URL())
	case "old-postgres":
		ts.Setenv("TENANTCTL_POSTGRES_URL", oldPostgres(s.t, s.postgres))
	case "pooler": // PgBouncer in transaction mode, and a way past it
		ts.Setenv("TENANTCTL_POSTGRES_DIRECT_URL", s.postgres)
		ts.Setenv("TENANTCTL_POSTGRES_URL", tenanttest.PgBouncer(s.t, s.postgres, 4))
	case "no-postgres": // nobody listens at its port
		ts.Setenv("TENANTCTL_POSTGRES_URL", at(s.t, s.postgres, closedPort(s.t)))
	case "no-mongodb":
		ts.Setenv("TENANTCTL_NOSQL_URL", at(s.t, s.mongodb, closedPort(s.t)))
	case "dns": // answers with the TXT records in the file dns, a name and a text a line
		ts.Setenv("DNS", fakeDNS(s.t, ts.MkAbs("dns")))
	default:
		ts.Fatalf("there is no stand-in %s", args[0])
	}
}

// at is a URL with another host and port.
func at(t testing.TB, raw, address string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal("the server's URL cannot be read")
	}
	u.Host = address
	return u.String()
}

// closedPort is an address at which nothing listens.
func closedPort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// oldPostgres greets every client as PostgreSQL 12.3 and answers nothing more; it gives the URL that leads to it.
func oldPostgres(t testing.TB, real string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				server := pgproto3.NewBackend(conn, conn)
				if _, err := server.ReceiveStartupMessage(); err != nil {
					return
				}
				server.Send(&pgproto3.AuthenticationOk{})
				server.Send(&pgproto3.ParameterStatus{Name: "server_version", Value: "12.3"})
				server.Send(&pgproto3.BackendKeyData{ProcessID: 1, SecretKey: []byte{1, 2, 3, 4}})
				server.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
				// A client that is gone is all that ends this.
				for err := server.Flush(); err == nil; {
					_, err = server.Receive()
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		serving.Wait()
	})
	return at(t, real, l.Addr().String())
}
