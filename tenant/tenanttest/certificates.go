package tenanttest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Certificates are an authority of one test's own and what it has signed, as paths of PEM files.
type Certificates struct {
	CA                    string
	ServerCert, ServerKey string // for localhost, by that name alone
	ClientCert, ClientKey string
	ClientBoth            string // certificate and key in one file, as MongoDB's URL takes them

	server tls.Certificate
	pool   *x509.CertPool
}

// NewCertificates makes an authority, and a server and a client of it.
func NewCertificates(t testing.TB) *Certificates {
	t.Helper()
	dir := t.TempDir()
	newKey := func() (*ecdsa.PrivateKey, []byte) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	}
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	template := func(name string) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		}
	}
	caKey, _ := newKey()
	ca := template("authority of the test")
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign
	sign := func(c *x509.Certificate, key *ecdsa.PrivateKey) []byte {
		der, err := x509.CreateCertificate(rand.Reader, c, ca, &key.PublicKey, caKey)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	authority := sign(ca, caKey)
	c := &Certificates{CA: write("ca.pem", authority), pool: x509.NewCertPool()}
	c.pool.AppendCertsFromPEM(authority)

	serverKey, serverPEM := newKey()
	server := template("localhost")
	server.DNSNames, server.ExtKeyUsage = []string{"localhost"}, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	serverCert := sign(server, serverKey)
	c.ServerCert, c.ServerKey = write("server.pem", serverCert), write("server.key", serverPEM)
	var err error
	if c.server, err = tls.X509KeyPair(serverCert, serverPEM); err != nil {
		t.Fatal(err)
	}

	clientKey, clientPEM := newKey()
	client := template("tenantctl")
	client.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	clientCert := sign(client, clientKey)
	c.ClientCert, c.ClientKey = write("client.pem", clientCert), write("client.key", clientPEM)
	c.ClientBoth = write("client-both.pem", append(clientCert, clientPEM...))
	return c
}

// Terminate listens at localhost for TLS from clients with a certificate, and passes on to address what they say. It gives
// the port, and ends with the test.
func (c *Certificates) Terminate(t testing.TB, address string) (port int) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{c.server}, ClientCAs: c.pool, ClientAuth: tls.RequireAndVerifyClientCert})
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { join(client, address) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		serving.Wait()
	})
	return l.Addr().(*net.TCPAddr).Port
}

// join passes bytes both ways until one side ends, which the test sees at its own end.
func join(client net.Conn, address string) {
	defer client.Close()
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer server.Close()
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(client, server)
		client.Close()
	})
	_, _ = io.Copy(server, client)
	server.Close()
	back.Wait()
}

// Encrypt lets the server take nobody but the superuser without TLS, a certificate of the authority and a password. Its own
// certificate is for the name localhost alone.
func (s *Server) Encrypt(c *Certificates) {
	s.t.Helper()
	for name, from := range map[string]string{"ca.pem": c.CA, "server.pem": c.ServerCert, "server.key": c.ServerKey} {
		content, err := os.ReadFile(from)
		if err != nil {
			s.t.Fatal(err)
		}
		s.put(name, content, false)
	}
	s.put("postgresql.conf", []byte("\nssl = on\nssl_ca_file = 'ca.pem'\nssl_cert_file = 'server.pem'\nssl_key_file = 'server.key'\n"), true)
	s.put("pg_hba.conf", []byte("host all postgres 127.0.0.1/32 trust\nhostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca\n"), false)
	s.Restart("fast")
}

// put writes a file of the server's data, or adds to it.
func (s *Server) put(name string, content []byte, add bool) {
	s.t.Helper()
	path := filepath.Join(s.data(), name)
	mode := os.O_TRUNC
	if add {
		mode = os.O_APPEND
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|mode, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(content); err != nil {
		s.t.Fatal(err)
	}
	if s.owner != nil {
		if err := os.Chown(path, int(s.owner.Uid), int(s.owner.Gid)); err != nil {
			s.t.Fatal(err)
		}
	}
}
