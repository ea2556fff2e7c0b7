package nosql

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest"
)

// FerretDB's own port stands behind one that takes TLS from clients with a certificate alone.
func TestATenantIsMadeOverVerifiedTLS(t *testing.T) {
	certs, other := tenanttest.NewCertificates(t), tenanttest.NewCertificates(t)
	port := certs.Terminate(t, options.Client().ApplyURI(tenanttest.MongoURL(t)).Hosts[0])
	at := func(host, ca, client string) Config {
		q := url.Values{"tls": {"true"}, "tlsCAFile": {ca}, "directConnection": {"true"}}
		if client != "" {
			q.Set("tlsCertificateKeyFile", client)
		}
		return Config{URL: fmt.Sprintf("mongodb://%s:%d/?%s", host, port, q.Encode()), Dir: example, Timeout: time.Second}
	}
	r := connect(t, at("localhost", certs.CA, certs.ClientBoth))
	tn := newTenant(t)
	must(t, r.Create(t.Context(), tn))
	if st, err := r.Stat(t.Context(), tn); err != nil || st.Presence != tenant.Ours {
		t.Errorf("stat is %+v, %v", st, err)
	}
	if l := r.Login(tn); !strings.Contains(l.Options, "tls=true") {
		t.Errorf("the tenant is told to connect by %+v", l)
	}
	if c := r.encryption(); c.Status != tenant.CheckOK || !strings.Contains(c.Message, "nobody on the way") {
		t.Errorf("doctor says %+v", c)
	}
	plain := at("localhost", certs.CA, certs.ClientBoth)
	plain.URL = fmt.Sprintf("mongodb://localhost:%d/?directConnection=true", port)
	for name, cfg := range map[string]Config{
		"another authority": at("localhost", other.CA, certs.ClientBoth), "another name": at("127.0.0.1", certs.CA, certs.ClientBoth),
		"no certificate of the client": at("localhost", certs.CA, ""), "a certificate of another's": at("localhost", certs.CA, other.ClientBoth),
		"no encryption": plain,
	} {
		_, err := Open(t.Context(), cfg)
		if err == nil {
			t.Errorf("with %s it connects", name)
			continue
		}
		refuses(t, err, tenant.ErrUnreachable, "cannot reach")
	}
}
