package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"github.com/tenantctl/tenantctl/resolver"
)

//go:embed nginx.conf
var nginxConf string

var nginxTemplate = template.Must(template.New("nginx.conf").Parse(nginxConf))

// server is one of nginx's, by how it finds the tenant.
type server struct {
	Listen, Auth, To   string
	Map, Cached, Limit bool
}

// proxy is an nginx of the program's own, and what is behind it.
type proxy struct {
	Trivial, Few, Many string
	Apps, Stack        []string
	Rate               int
	Servers            []server

	plain, asked, cached, mapped, few, stacked, unlimited, limited string
	application                                                    string
}

// startProxy starts the application in Go, two resolvers with small and large catalogs, and nginx.
func (l *load) startProxy(ctx context.Context) (*proxy, error) {
	p := &proxy{Rate: 2 * l.quietest, Apps: bare(l.apps), Stack: bare(l.resolvers)}
	var err error
	if p.Trivial, err = l.trivialApplication(); err != nil {
		return nil, err
	}
	p.application = "http://" + p.Trivial
	if p.Few, _, err = l.catalogOf(ctx, 10); err != nil {
		return nil, err
	}
	var hosts string
	if p.Many, hosts, err = l.catalogOf(ctx, l.large); err != nil {
		return nil, err
	}
	for _, s := range []struct {
		url *string
		server
	}{
		{&p.plain, server{To: "trivial"}},
		{&p.asked, server{Auth: "many", To: "trivial"}},
		{&p.cached, server{Auth: "many", To: "trivial", Cached: true}},
		{&p.mapped, server{To: "trivial", Map: true}},
		{&p.few, server{Auth: "few", To: "trivial"}},
		{&p.stacked, server{Auth: "stack", To: "trivial"}},
		{&p.unlimited, server{Auth: "stack", To: "django"}},
		{&p.limited, server{Auth: "stack", To: "django", Limit: true}},
	} {
		address, err := freeAddress()
		if err != nil {
			return nil, err
		}
		s.Listen, *s.url = address, "http://"+address
		p.Servers = append(p.Servers, s.server)
	}
	return p, l.startNginx(p, hosts)
}

func bare(urls []string) []string {
	all := make([]string, len(urls))
	for i, u := range urls {
		all[i] = strings.TrimPrefix(u, "http://")
	}
	return all
}

// startNginx runs it in a folder of its own below the stack's.
func (l *load) startNginx(p *proxy, hosts string) error {
	dir := filepath.Join(l.dir, "load")
	if err := os.MkdirAll(filepath.Join(dir, "tmp"), 0o755); err != nil { //nolint:gosec // for nginx's user
		return err
	}
	var conf bytes.Buffer
	if err := nginxTemplate.Execute(&conf, p); err != nil {
		return err
	}
	for name, text := range map[string]string{"nginx.conf": conf.String(), "tenants.map": hosts} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil { //nolint:gosec // as above
			return err
		}
	}
	program, err := exec.LookPath("nginx")
	if err != nil {
		program = "/usr/sbin/nginx"
	}
	return l.start("nginx", p.plain+"/", program, "-e", "stderr", "-p", dir, "-c", "nginx.conf")
}

// start starts a program, waits until it answers, and ends it with the load.
func (l *load) start(name, url, program string, args ...string) error {
	cmd := exec.Command(program, args...)
	log, err := os.Create(filepath.Join(l.dir, "log", "load-"+name+".log"))
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	l.ends = append(l.ends, func() {
		_ = cmd.Process.Signal(os.Interrupt) // it may have ended
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill() // the same
		}
		_ = log.Close() // for reading alone from now on
	})
	for until := time.Now().Add(time.Minute); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		if got, err := client.Get(url); err == nil {
			_ = got.Body.Close() // it answers
			return nil
		}
	}
	return fmt.Errorf("%s does not answer at %s", name, url)
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// trivialApplication believes assertions alone, and tells whose they are. What has none is of nobody: /open.
func (l *load) trivialApplication() (address string, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	asserted := resolver.Asserted(l.keys, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t, err := resolver.FromContext(r.Context())
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("X-App-Tenant", t.Name)
		_ = json.NewEncoder(w).Encode(map[string]string{ // the visitor may have left
			"tenant": t.Name, "marker": t.ID, "mongo_marker": t.ID, "redis_marker": t.ID,
		})
	}))
	app := http.NewServeMux()
	app.Handle("/", asserted)
	app.HandleFunc("/open", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	s := &http.Server{Handler: app, ReadHeaderTimeout: time.Minute}
	go func() { _ = s.Serve(listener) }() // until Close
	l.ends = append(l.ends, func() { _ = s.Close() })
	return listener.Addr().String(), nil
}

var errDiffers = errors.New("an answer differs from what was expected")
