// Package migrations holds the SQL of tenantctl's own catalog and of the role it works as, and a small example of a tenant's
// model in both stores.
package migrations

import "embed"

// Control holds control/*.sql: the catalog, migrated by `tenantctl init`.
//
//go:embed control/*.sql
var Control embed.FS

// Provisioner makes the role that tenantctl works as. It is for psql, with the variables role, database and password.
//
//go:embed roles/provisioner.sql
var Provisioner string
