// Package mongoproxy stands between a client and a MongoDB-protocol server, so that a test can read every command as
// it was sent, refuse one, kill the connection at any of them, show another kind of server, and have users where the
// server behind keeps none.
package mongoproxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Command is one command as a client sent it.
type Command struct {
	N    int // 1 for the first, 2 for the second; 0 for pings, logins and the end of sessions, which are not counted
	Name string
	DB   string
	Body bson.Raw // with document sequences put in their place
}

// Action is what the proxy does with one command; the zero Action passes it on.
type Action struct {
	Cut   Cut
	Then  func() // called after the cut; nil for nothing
	Reply bson.D // answers in place of the server; see Refusal
	Body  bson.D // is sent to the server in place of the command; nil for the command itself

	Edit func(bson.D) bson.D // changes the server's reply; nil for the reply itself
}

// Cut is when the client's world ends: from then on every connection is closed and no new one is served, until Heal.
type Cut int

// The server has or has not carried out the command when the client is cut off.
const (
	Never Cut = iota
	Before
	After
)

// Refusal is the reply of a server that refuses a command.
func Refusal(code int32, name, message string) bson.D {
	return bson.D{{Key: "ok", Value: 0.0}, {Key: "errmsg", Value: message}, {Key: "code", Value: code}, {Key: "codeName", Value: name}}
}

// Proxy is one listening proxy; it ends with its test.
type Proxy struct {
	listener net.Listener
	address  string // of the server
	tls      *tls.Config
	url      string

	mu        sync.Mutex
	dead      bool
	conns     map[net.Conn]struct{}
	intercept func(Command) Action
	hello     func(bson.D) bson.D
	users     *users
	kept      *definitions
	snapshots bool
	version   string // of MongoDB; empty for what the server says
	counted   int
	seen      []Command
	app       string
}

// Start serves on a free loopback port, in front of the first host of the server at upstream.
func Start(t testing.TB, upstream string) *Proxy {
	t.Helper()
	opts := options.Client().ApplyURI(upstream)
	if err := opts.Validate(); err != nil {
		t.Fatal("the server's URL is not valid")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{listener: l, address: opts.Hosts[0], tls: opts.TLSConfig, url: rewrite(upstream, l.Addr().String()), conns: map[net.Conn]struct{}{}}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			served.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.kill()
		served.Wait()
	})
	return p
}

// rewrite points a connection string to another host, without TLS and without the discovery that would go around it.
func rewrite(upstream, host string) string {
	_, rest, _ := strings.Cut(upstream, "://")
	rest, query, _ := strings.Cut(rest, "?")
	authority, path, _ := strings.Cut(rest, "/")
	userinfo := ""
	if i := strings.LastIndex(authority, "@"); i >= 0 {
		userinfo = authority[:i+1]
	}
	values, _ := url.ParseQuery(query)
	for key := range values {
		if k := strings.ToLower(key); k == "replicaset" || strings.HasPrefix(k, "tls") || strings.HasPrefix(k, "ssl") {
			values.Del(key)
		}
	}
	values.Set("directConnection", "true")
	return "mongodb://" + userinfo + host + "/" + path + "?" + values.Encode()
}

// URL is the connection string of the server as seen through the proxy.
func (p *Proxy) URL() string { return p.url }

// Intercept has decide choose what to do with every command from now on, and starts to count at 1 again.
func (p *Proxy) Intercept(decide func(Command) Action) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.intercept, p.counted, p.seen = decide, 0, nil
}

// Hello has edit change how the server presents itself; connections that are open keep what they saw.
func (p *Proxy) Hello(edit func(bson.D) bson.D) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hello = edit
}

// Commands lists what was sent since the last call of Intercept, logins and pings included.
func (p *Proxy) Commands() []Command {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.seen)
}

// AppName is the name that the newest client gave for its program.
func (p *Proxy) AppName() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.app
}

// Heal serves again after a cut.
func (p *Proxy) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dead = false
}

// kill ends every connection and serves no other.
func (p *Proxy) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dead = true
	for c := range p.conns {
		c.Close()
	}
}

func (p *Proxy) cut(a Action) error {
	p.kill()
	if a.Then != nil {
		a.Then()
	}
	return errCut
}

// hold keeps a connection for kill, unless the proxy is dead.
func (p *Proxy) hold(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *Proxy) release(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

func (p *Proxy) dial() (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if p.tls != nil {
		return (&tls.Dialer{Config: p.tls}).DialContext(ctx, "tcp", p.address)
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", p.address)
}

func (p *Proxy) serve(client net.Conn) {
	defer client.Close()
	if !p.hold(client) {
		return
	}
	defer p.release(client)
	server, err := p.dial()
	if err != nil {
		return
	}
	defer server.Close()
	if !p.hold(server) {
		return
	}
	defer p.release(server)
	var login session
	for {
		// What ends a connection is seen by the client, which is what the test looks at.
		if err := p.exchange(client, server, &login); err != nil {
			return
		}
	}
}

var errCut = errors.New("cut")

// exchange takes one message from the client to its answer.
func (p *Proxy) exchange(client, server net.Conn, login *session) error {
	raw, err := readMessage(client)
	if err != nil {
		return err
	}
	request, err := parseRequest(raw)
	if err != nil {
		return err
	}
	if handshake(request.cmd.Name) {
		p.meet(request.cmd)
		reply, err := forward(server, raw)
		if err != nil {
			return err
		}
		if reply, err = editReply(reply, p.present()); err != nil {
			return err
		}
		_, err = client.Write(reply)
		return err
	}

	action := p.decide(&request.cmd, login)
	if action.Cut == Before {
		return p.cut(action)
	}
	var reply []byte
	switch {
	case action.Reply != nil:
		reply, err = request.answer(action.Reply)
	case request.silent:
		_, err = server.Write(raw)
	default:
		reply, err = request.through(server, raw, action)
	}
	if err != nil {
		return err
	}
	if action.Cut == After {
		return p.cut(action)
	}
	_, err = client.Write(reply)
	return err
}

// decide counts a command, remembers it and asks the test, then what is kept here, what becomes of it.
func (p *Proxy) decide(c *Command, login *session) Action {
	p.mu.Lock()
	if counts(c.Name) {
		p.counted++
		c.N = p.counted
	}
	p.seen = append(p.seen, *c)
	intercept, users, kept, snapshots, version := p.intercept, p.users, p.kept, p.snapshots, p.version
	p.mu.Unlock()
	var action Action
	if intercept != nil {
		action = intercept(*c)
	}
	// A command that is cut before it arrives changes no users.
	if users != nil && action.Reply == nil && action.Cut != Before {
		if action.Reply = users.guard(login, *c); action.Reply == nil {
			action.Reply = users.answer(*c)
		}
	}
	if action.Reply != nil || action.Cut == Before || action.Body != nil || action.Edit != nil {
		return action
	}
	var a Action
	if version != "" && c.Name == "buildInfo" {
		a.Reply = append(bson.D{{Key: "version", Value: version}}, done()...)
	}
	if snapshots && a.Reply == nil {
		a = atMoment(*c)
	}
	if kept != nil && a.Reply == nil && a.Body == nil {
		a = kept.answer(*c)
	}
	a.Cut, a.Then = action.Cut, action.Then
	return a
}

// through sends a command to the server, and gives its reply, each as it is to be.
func (r request) through(server net.Conn, raw []byte, a Action) ([]byte, error) {
	if a.Body != nil {
		body, err := bson.Marshal(a.Body)
		if err != nil {
			return nil, err
		}
		raw = opMsg(r.id, 0, body)
	}
	reply, err := forward(server, raw)
	if err != nil || a.Edit == nil {
		return reply, err
	}
	return editReply(reply, a.Edit)
}

// meet remembers who a client says it is, which it does once per connection.
func (p *Proxy) meet(hello Command) {
	if name, ok := hello.Body.Lookup("client", "application", "name").StringValueOK(); ok {
		p.mu.Lock()
		p.app = name
		p.mu.Unlock()
	}
}

func handshake(name string) bool {
	return name == "hello" || strings.EqualFold(name, "isMaster")
}

func counts(name string) bool {
	switch name {
	case "ping", "saslStart", "saslContinue", "endSessions":
		return false
	}
	return true
}

// present is how the server shows itself: alone, so that no client goes around the proxy, and as the test wants it.
func (p *Proxy) present() func(bson.D) bson.D {
	p.mu.Lock()
	edit := p.hello
	p.mu.Unlock()
	return func(d bson.D) bson.D {
		d = slices.DeleteFunc(d, func(e bson.E) bool {
			return slices.Contains([]string{"topologyVersion", "setName", "setVersion", "hosts", "passives", "arbiters", "primary", "me", "electionId", "compression"}, e.Key)
		})
		if edit != nil {
			d = edit(d)
		}
		return d
	}
}

func forward(server net.Conn, raw []byte) ([]byte, error) {
	if _, err := server.Write(raw); err != nil {
		return nil, err
	}
	return readMessage(server)
}

// Set gives a document a field, in place or at the end.
func Set(d bson.D, key string, value any) bson.D {
	for i := range d {
		if d[i].Key == key {
			d[i].Value = value
			return d
		}
	}
	return append(d, bson.E{Key: key, Value: value})
}
