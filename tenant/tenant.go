// Package tenant is the model of a tenant and every use case on it: the catalog, operations that survive a
// crash, fan-out over a fleet, and the interfaces that a store's package implements.
package tenant

import (
	"time"

	"github.com/google/uuid"
)

// State is where a tenant is in its life.
type State string

// The states of a tenant.
const (
	Provisioning State = "provisioning" // being made: not usable yet
	Active       State = "active"
	Suspended    State = "suspended" // its users are locked out of every store
	Deleting     State = "deleting"  // past the point of no return
	Deleted      State = "deleted"   // kept, locked, until purge_after
	Failed       State = "failed"    // a create could be neither finished nor undone
)

// States lists every state, in the order of a tenant's life.
func States() []State {
	return []State{Provisioning, Active, Suspended, Deleting, Deleted, Failed}
}

// Migrates tells whether a tenant in this state is brought to new versions.
func (s State) Migrates() bool { return s == Active || s == Suspended }

// Tenant is one customer. Schema, Database and Role are the exact names it was given when it was made; renaming
// changes Name alone.
type Tenant struct {
	ID         uuid.UUID         `json:"id"`
	Name       Name              `json:"name"`
	State      State             `json:"state"`
	Schema     string            `json:"schema"`
	Database   string            `json:"database"`
	Role       string            `json:"role"` // of PostgreSQL, and the user's name in MongoDB; empty where the tenant was adopted without one
	Domains    []string          `json:"domains"`
	Labels     map[string]string `json:"labels"`
	Versions   map[string]int64  `json:"versions"` // newest applied migration by kind of store, as last recorded
	CreatedAt  time.Time         `json:"created_at"`
	UpdatedAt  time.Time         `json:"updated_at"`
	PurgeAfter *time.Time        `json:"purge_after"`
	Hold       string            `json:"hold,omitempty"`    // why it may not be purged, nor its backups pruned
	Adopted    bool              `json:"adopted,omitempty"` // another tool made its places, and owns what is in them

	SuspendedFor string `json:"suspended_for,omitempty"` // the reason given when it was suspended; visitors see it

	revision    int64 // of its row in the catalog, which counts every change
	deletedFrom State // the state that an undelete gives back; empty for a restored part, which is no whole tenant
}
