// Package resolver tells an application which tenant a request is for, and works in the tenant's data. It reads the
// catalog of tenantctl, keeps all routes in memory and follows their changes. It needs the standard library and pgx
// alone.
package resolver

import (
	"context"
	"errors"
)

// Gate tells whether a tenant's requests are served.
type Gate string

// The gates of a tenant.
const (
	Open    Gate = "open"
	Closing Gate = "closing" // its users are about to be locked out
	Moving  Gate = "moving"  // it will be back in a moment
	Closed  Gate = "closed"
)

// Tenant is what a request needs to know of its tenant.
type Tenant struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	State    string `json:"state"`
	Schema   string `json:"schema"`   // in PostgreSQL
	Role     string `json:"role"`     // in PostgreSQL; empty where the tenant has none of its own
	Database string `json:"database"` // in MongoDB
	Revision int64  `json:"revision"` // of the tenant's row in the catalog, which counts every change
	Gate     Gate   `json:"gate"`
	Reason   string `json:"reason,omitempty"` // why the gate is not open, for visitors
	// Another one once the tenant's data was replaced by a restore: what was kept of it elsewhere is of the former.
	Generation string `json:"generation"`
}

// RedisPrefix begins the keys of the tenant in Redis. Its braces keep them in one slot of a cluster. After a restore it
// is another one: no cache answers with what was replaced.
func (t *Tenant) RedisPrefix() string { return "{" + t.Schema + "}:" + t.Generation + ":" }

// ErrNoTenant is the error of work that belongs to a tenant, in a context that has none.
var ErrNoTenant = errors.New(
	"no tenant in the context: serve the request by a Middleware of package resolver, or use WithTenant",
)

type tenantKey struct{}

// WithTenant gives a context its tenant, as Middleware does.
func WithTenant(ctx context.Context, t *Tenant) context.Context {
	return context.WithValue(ctx, tenantKey{}, t)
}

// FromContext is the tenant of a context, or ErrNoTenant.
func FromContext(ctx context.Context) (*Tenant, error) {
	if t, ok := ctx.Value(tenantKey{}).(*Tenant); ok && t != nil {
		return t, nil
	}
	return nil, ErrNoTenant
}
