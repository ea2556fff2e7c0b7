package cmd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/config"
	"github.com/tenantctl/tenantctl/resolver"
	"github.com/tenantctl/tenantctl/serve"
	"github.com/tenantctl/tenantctl/tenant"
)

func newResolverCmd(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "resolver",
		Short: "Tell proxies and applications which tenant a request belongs to, until it is stopped",
		Long: `Answers which tenant a request belongs to, and whether it may be served now. It keeps all tenants in memory and
follows their changes. It runs until SIGTERM or Ctrl-C; then it finishes the requests in flight and exits with 0.

  /auth          for nginx, Traefik and Caddy: 204 with X-Tenant headers, or what the visitor gets
  /refused       the page for the visitor, after a refusal
  /ext_authz/    for Envoy, by HTTP
  /ask           for Caddy: whether a certificate may be had for a domain
  /v1/resolve    what a request would get, as JSON
  /metrics       for Prometheus
  /livez, /readyz

It answers resolve.trusted_proxies alone, and whoever may write to resolve.socket. suspend, delete and restore wait until
every running resolver knows that the tenant is not served. docs/serving.md tells how proxies use it.`,
		Example: `  tenantctl resolver
  tenantctl resolver --listen 127.0.0.1:8471 --socket /run/tenantctl/resolver.sock
  tenantctl resolver export --format nginx-map --file tenants.map`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runResolver(cmd.Context(), a) },
	}
	// The configuration says what they are where they are not given.
	c.Flags().String("listen", "", "answer over TCP at this `address:port` (default 127.0.0.1:8470)")
	c.Flags().String("socket", "", "answer at this unix socket as well: a `path`")
	c.AddCommand(newResolverExportCmd(a))
	return c
}

const (
	headerTime = 5 * time.Second  // for a request's headers
	idleTime   = 2 * time.Minute  // of a connection that is kept
	drainTime  = 10 * time.Second // for requests in flight at the end
	maxHeaders = 32 << 10         // bytes
)

func runResolver(ctx context.Context, a *app) error {
	cfg, err := a.config()
	if err != nil {
		return err
	}
	listeners, err := listen(cfg.Resolve)
	if err != nil {
		return err
	}
	defer closeAll(listeners)
	cache, err := a.redis(cfg)
	if err != nil {
		return err
	}
	r, err := a.resolver(ctx, cache.Changed)
	if err != nil {
		return err
	}
	front, err := newFront(cfg, r)
	if err != nil {
		return errors.Join(err, r.Close(context.WithoutCancel(ctx)))
	}
	front.Asked = cache.Asked
	cache.Start(r)
	server := &http.Server{
		Handler: resolverHandler(r, front), ReadHeaderTimeout: headerTime, IdleTimeout: idleTime, MaxHeaderBytes: maxHeaders,
	}
	ended := make(chan error, len(listeners))
	for _, l := range listeners {
		a.say("answering for %s at %s", tenant.Plural(r.Tenants(), "tenant"), addressOf(l))
		go func() { ended <- server.Serve(l) }()
	}
	a.serves = true
	select {
	case <-ctx.Done():
	case err = <-ended:
		err = fmt.Errorf("answer requests: %w", err)
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	if down := server.Shutdown(last); down != nil {
		a.warn([]string{"requests in flight were cut off after " + drainTime.String()})
	}
	if left := cache.Close(last); left != nil {
		a.warn([]string{fmt.Sprintf("%v: suspend, delete and restore wait until they have ended, at most %v", left, cfg.Resolve.MaxStale)})
		r.Stop()
		return err
	}
	return errors.Join(err, r.Close(last))
}

// redis is where applications look for answers; without one the cache does nothing.
func (a *app) redis(cfg *config.Config) (*serve.Cache, error) {
	url := cfg.Resolve.RedisURL.Reveal()
	if url == "" {
		return nil, nil
	}
	cache, err := serve.NewCache(url, a.logger(cfg))
	if err != nil {
		return nil, tenant.Invalid("", "resolve.redis_url: %v", err)
	}
	return cache, nil
}

// resolver starts a resolver by the configuration. changed is called after each change of what it answers; it may be nil.
func (a *app) resolver(ctx context.Context, changed func(context.Context, *resolver.Resolver) error) (*resolver.Resolver, error) {
	pool, err := a.catalogPool(ctx)
	if err != nil {
		return nil, err
	}
	sources, err := resolveSources(a.cfg)
	if err != nil {
		return nil, err
	}
	direct := a.cfg.Postgres.DirectURL.Reveal()
	if direct == "" {
		direct = a.cfg.Postgres.URL.Reveal()
	}
	listen, err := pgx.ParseConfig(direct)
	if err != nil {
		return nil, tenant.Invalid("", "postgres.url cannot be read")
	}
	listen.ConnectTimeout = a.cfg.Postgres.ConnectTimeout
	r := a.cfg.Resolve
	return resolver.New(ctx, resolver.Config{
		Pool: pool, Listen: listen, Sources: sources, MaxStale: r.MaxStale, Poll: r.Poll, Reload: r.Reload,
		Log: a.logger(a.cfg), Changed: changed,
	})
}

// catalogPool connects to the catalog, for what reads it without a service.
func (a *app) catalogPool(ctx context.Context) (*pgxpool.Pool, error) {
	c, _, err := a.catalog(ctx)
	if err != nil {
		return nil, err
	}
	return a.pool, c.Require(ctx)
}

// resolveSources is what leads a request to its tenant, by the configuration.
func resolveSources(cfg *config.Config) (resolver.Sources, error) {
	r := cfg.Resolve
	s := resolver.Sources{BaseDomain: r.BaseDomain, Header: r.Header, PathPrefix: r.PathPrefix, Claim: r.JWTClaim}
	if r.JWTClaim == "" {
		return s, nil
	}
	text, err := os.ReadFile(r.JWTKeyFile)
	if err != nil {
		return s, tenant.Invalid("set resolve.jwt_key_file to a file with the key that verifies tokens",
			"resolve.jwt_claim is set, and the key cannot be read: %v", errors.Unwrap(err))
	}
	if s.Key, err = resolver.ParseVerifyKey(text); err != nil {
		return s, tenant.Invalid("", "resolve.jwt_key_file: %v", err)
	}
	return s, nil
}

func newFront(cfg *config.Config, r *resolver.Resolver) (*resolver.Front, error) {
	proxies, err := config.ParseNetworks(cfg.Resolve.TrustedProxies)
	if err != nil {
		return nil, err
	}
	front := &resolver.Front{Resolver: r, Proxies: proxies}
	var secrets [][]byte
	for _, k := range strings.FieldsFunc(cfg.Resolve.AssertionKey.Reveal(), func(c rune) bool { return c == ',' }) {
		secrets = append(secrets, []byte(k))
	}
	if secrets != nil {
		front.Keys, err = resolver.NewKeys(secrets...)
	}
	return front, err
}

func resolverHandler(r *resolver.Resolver, front *resolver.Front) http.Handler {
	metrics := promhttp.HandlerFor(resolverMetrics(r), promhttp.HandlerOpts{})
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		switch q.URL.Path {
		case "/livez":
			w.WriteHeader(http.StatusNoContent)
		case "/readyz":
			if !r.Fresh() {
				http.Error(w, "the catalog was not read lately", http.StatusServiceUnavailable)
				return
			}
			w.WriteHeader(http.StatusNoContent)
		case "/metrics":
			metrics.ServeHTTP(w, q)
		default:
			front.ServeHTTP(w, q)
		}
	})
}

// listen opens what the configuration names.
func listen(c config.Resolve) ([]net.Listener, error) {
	var all []net.Listener
	open := func(network, address string) error {
		l, err := net.Listen(network, address)
		if err != nil {
			closeAll(all)
			return tenant.Invalid("choose another by --listen or --socket, or end what is there", "cannot listen at %s: %v", address, cause(err))
		}
		all = append(all, l)
		return nil
	}
	if c.Listen == "" && c.Socket == "" {
		return nil, tenant.Invalid("set resolve.listen or resolve.socket", "there is no address to answer at")
	}
	if c.Listen != "" {
		if err := open("tcp", c.Listen); err != nil {
			return nil, err
		}
	}
	if c.Socket == "" {
		return all, nil
	}
	if conn, err := net.Dial("unix", c.Socket); err == nil {
		_ = conn.Close() // it was to find out whether somebody answers
		closeAll(all)
		return nil, tenant.Invalid("end it, or choose another path", "another process answers at %s", c.Socket)
	} else if info, err := os.Lstat(c.Socket); err == nil && info.Mode().Type() == os.ModeSocket {
		_ = os.Remove(c.Socket) // left by a killed process; where it cannot be removed the next step says so
	}
	if err := open("unix", c.Socket); err != nil {
		return nil, err
	}
	if err := os.Chmod(c.Socket, 0o660); err != nil {
		closeAll(all)
		return nil, fmt.Errorf("give the socket's group the right to ask: %w", err)
	}
	return all, nil
}

// cause is what the operating system says, without what it was asked.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

func closeAll(listeners []net.Listener) {
	for _, l := range listeners {
		_ = l.Close() // it may be closed already
	}
}

func addressOf(l net.Listener) string {
	if l.Addr().Network() == "unix" {
		return "unix:" + l.Addr().String()
	}
	return "http://" + l.Addr().String()
}
