package legacy

import (
	"github.com/google/uuid"

	"github.com/tenantctl/tenantctl/tenant"
)

// Report tells what a run or a verification found.
type Report struct {
	Import     string        `json:"import"`
	Run        *uuid.UUID    `json:"run,omitempty"`
	State      string        `json:"state"` // done, partial, planned, differs
	Tables     []TableReport `json:"tables"`
	Totals     Counts        `json:"totals"`
	Created    int           `json:"tenants_created"`
	Rejects    string        `json:"rejects,omitempty"` // file
	Notes      []string      `json:"notes,omitempty"`
	DurationMS int64         `json:"duration_ms"`
	LoadMS     int64         `json:"load_ms"`   // of it, until the rows were there
	FinishMS   int64         `json:"finish_ms"` // of it, for indexes, constraints, sequences and statistics
}

// Counts are rows of a table, or of one tenant's part of it.
type Counts struct {
	Source   int64 `json:"source_rows"`
	Loaded   int64 `json:"loaded_rows"`
	Rejected int64 `json:"rejected_rows"`
	Match    *bool `json:"checksum_match,omitempty"` // nil where nothing was compared
}

func (c *Counts) add(o Counts) {
	c.Source += o.Source
	c.Loaded += o.Loaded
	c.Rejected += o.Rejected
}

// TableReport is one table of the mapping.
type TableReport struct {
	Table string `json:"table"`
	Counts
	Already     bool           `json:"already_loaded,omitempty"`
	Tenants     []TenantReport `json:"tenants"`
	Differences []Difference   `json:"differences,omitempty"`
}

// TenantReport is one tenant's part of a table. The name is empty for rows that are no tenant's.
type TenantReport struct {
	Tenant tenant.Name `json:"tenant"`
	Counts
}
