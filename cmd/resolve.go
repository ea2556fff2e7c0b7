package cmd

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/resolver"
)

func newResolveCmd(a *app) *cobra.Command {
	var q resolver.Request
	c := &cobra.Command{
		Use:   "resolve HOST",
		Short: "Tell which tenant a request belongs to, what it would get, and why",
		Long: `Tells what a request for a host would get from tenantctl resolver, by the catalog as it is now. It needs no running
resolver. The exit code is 0 whatever the answer is; scripts read status from -o json.

` + exitHelp,
		Example: `  tenantctl resolve www.acme.example
  tenantctl resolve app.example.com --uri /t/acme/orders
  tenantctl resolve www.acme.example -o json`,
		Args: oneHost,
		RunE: func(cmd *cobra.Command, args []string) error {
			q.Host = args[0]
			return runResolve(cmd.Context(), a, q)
		},
	}
	c.Flags().StringVar(&q.URI, "uri", "", "the request's `path` and query")
	c.Flags().StringVar(&q.Scheme, "scheme", "https", "`http|https`")
	c.Flags().StringVar(&q.Header, "header", "", "the `value` of the header that resolve.header names")
	c.Flags().StringVar(&q.Token, "token", "", "a bearer `token`, for resolve.jwt_claim")
	return c
}

func runResolve(ctx context.Context, a *app, q resolver.Request) error {
	pool, err := a.catalogPool(ctx)
	if err != nil {
		return err
	}
	sources, err := resolveSources(a.cfg)
	if err != nil {
		return err
	}
	answer, err := resolver.Once(ctx, pool, sources, q)
	if err != nil {
		return err
	}
	return a.print(answer, answer.Host, func(w io.Writer) {
		pairs := []any{
			"host", answer.Host, "answer", fmt.Sprintf("%d %s", answer.Status, http.StatusText(answer.Status)),
			"because", answer.Reason, "location", answer.Location, "found by", answer.Source,
		}
		if t := answer.Tenant; t != nil {
			pairs = append(pairs, "tenant", t.Name, "id", t.ID, "state", t.State, "gate", string(t.Gate),
				"schema", t.Schema, "role", t.Role, "database", t.Database, "revision", t.Revision)
		}
		a.fields(w, pairs...)
	})
}
