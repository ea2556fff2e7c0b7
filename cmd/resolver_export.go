package cmd

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/resolver"
	"github.com/tenantctl/tenantctl/tenant"
)

// exportFormats write one host each. Hosts and names are made of letters that no format gives a meaning.
var exportFormats = map[string]func(w io.Writer, h resolver.HostRoute) error{
	"nginx-map":   func(w io.Writer, h resolver.HostRoute) error { return line(w, "%s \"%s\";\n", h.Host, h.Value()) },
	"haproxy-map": func(w io.Writer, h resolver.HostRoute) error { return line(w, "%s %s\n", h.Host, h.Value()) },
	"caddy":       func(w io.Writer, h resolver.HostRoute) error { return line(w, "%s \"%s\"\n", h.Host, h.Value()) },
	"json":        func(w io.Writer, h resolver.HostRoute) error { return json.NewEncoder(w).Encode(h) },
}

func line(w io.Writer, format string, args ...any) error {
	_, err := fmt.Fprintf(w, format, args...)
	return err
}

// hostExport is what the flags of `resolver export` say.
type hostExport struct {
	format, file, reload string
	watch                bool
	every                time.Duration

	last time.Time // when it was last written
}

func newResolverExportCmd(a *app) *cobra.Command {
	var e hostExport
	names := []string{"nginx-map", "haproxy-map", "caddy", "json"}
	c := &cobra.Command{
		Use:   "export",
		Short: "Write all hosts with their tenants for a proxy that asks nobody",
		Long: `Writes a line per host: verified domains, wildcards, and names below resolve.base_domain, each with what its
requests get: "200 TENANT", "307 HOST" or "308 HOST" for a redirect, or the status alone (403, 421, 503). Hosts that are
not in it are 404. json is a line of JSON per host. Headers, paths and tokens are not in it.

With --file a file is written as a whole and put in place at once. With --watch it is written again after each change, and
--reload is run; suspend, delete and restore wait until that was done. The command has to return when the proxy works by
the new file, not before: examples/proxies/reload.sh waits for old workers of nginx and HAProxy. One that fails is tried
again.`,
		Example: `  tenantctl resolver export --format nginx-map --file tenants.map --watch --reload './reload.sh nginx.pid HUP'
  tenantctl resolver export --format haproxy-map --file tenants.map
  tenantctl resolver export --format json | jq -r 'select(.status != 200) | .host'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !slices.Contains(names, e.format) {
				return tenant.Invalid("see: tenantctl resolver export --help", "--format is one of %s", strings.Join(names, ", "))
			}
			if e.watch && e.file == "" {
				return tenant.Invalid("add --file FILE", "--watch writes a file again and again, and there is none")
			}
			if e.reload != "" && !e.watch {
				return tenant.Invalid("add --watch", "--reload is run after each change")
			}
			return e.run(cmd.Context(), a)
		},
	}
	f := c.Flags()
	f.StringVar(&e.format, "format", "", "`format`: "+strings.Join(names, ", "))
	f.StringVar(&e.file, "file", "", "write this `file`, and not stdout")
	f.BoolVar(&e.watch, "watch", false, "write the file again after each change, until it is stopped")
	f.StringVar(&e.reload, "reload", "", "run this shell `command` after each change")
	f.DurationVar(&e.every, "every", time.Second, "write no more often than so, a `duration`")
	return c
}

func (e *hostExport) run(ctx context.Context, a *app) error {
	if e.watch {
		return e.follow(ctx, a)
	}
	pool, err := a.catalogPool(ctx)
	if err != nil {
		return err
	}
	sources, err := resolveSources(a.cfg)
	if err != nil {
		return err
	}
	hosts, err := resolver.ReadHosts(ctx, pool, sources)
	if err != nil {
		return err
	}
	if e.file == "" {
		_, err := e.writeTo(a.out, hosts)
		return writing(err)
	}
	n, err := e.replace(hosts)
	if err != nil {
		return err
	}
	a.say("wrote %s to %s", tenant.Plural(n, "host"), e.file)
	return nil
}

// follow writes the file after each change until it is stopped. The catalog is told of a change only then.
func (e *hostExport) follow(ctx context.Context, a *app) error {
	r, err := a.resolver(ctx, func(ctx context.Context, r *resolver.Resolver) error {
		select {
		case <-time.After(time.Until(e.last.Add(e.every))):
		case <-ctx.Done():
			return ctx.Err()
		}
		n, err := e.replace(r.Hosts())
		if err != nil {
			return err
		}
		e.last = time.Now()
		a.say("wrote %s to %s", tenant.Plural(n, "host"), e.file)
		return e.runReload(ctx, a)
	})
	if err != nil {
		return err
	}
	a.serves = true
	<-ctx.Done()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	return r.Close(last)
}

func (e *hostExport) writeTo(w io.Writer, hosts iter.Seq[resolver.HostRoute]) (n int, err error) {
	buffered := bufio.NewWriter(w)
	for h := range hosts {
		if err := exportFormats[e.format](buffered, h); err != nil {
			return n, err
		}
		n++
	}
	return n, buffered.Flush()
}

// replace puts a new file in the place of the old one, which is there until the new one is whole and on the disk.
func (e *hostExport) replace(hosts iter.Seq[resolver.HostRoute]) (n int, err error) {
	f, err := os.CreateTemp(filepath.Dir(e.file), "."+filepath.Base(e.file)+".*")
	if err == nil {
		defer func() {
			if err != nil {
				_ = os.Remove(f.Name()) // the first error counts
			}
		}()
		n, err = e.writeTo(f, hosts)
		err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	}
	if err == nil {
		err = os.Rename(f.Name(), e.file)
	}
	if err != nil {
		return n, &tenant.Error{Msg: fmt.Sprintf("write %s: %v", e.file, err), Err: err, Hint: "what was in it before is unchanged"}
	}
	return n, nil
}

// runReload runs the command that takes the file in.
func (e *hostExport) runReload(ctx context.Context, a *app) error {
	if e.reload == "" {
		return nil
	}
	c := exec.CommandContext(ctx, "sh", "-c", e.reload)
	c.Stdout, c.Stderr = a.errOut, a.errOut
	if err := c.Run(); err != nil {
		return &tenant.Error{Msg: fmt.Sprintf("run --reload: %v", err), Err: err, Hint: "it is run again in a moment"}
	}
	return nil
}
