// Package migrations holds the SQL of tenantctl's own catalog and a small example of a tenant's model in both stores.
package migrations

import "embed"

// Control holds control/*.sql: the catalog, migrated by `tenantctl init`.
//
//go:embed control/*.sql
var Control embed.FS
