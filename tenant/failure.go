package tenant

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
)

// NewFailure keeps of an error what a report needs; the tenant's name stays out, so that equal faults of many tenants
// are equal.
func NewFailure(err error) *Failure {
	if err == nil {
		return nil
	}
	f := &Failure{Code: Code(err), Message: err.Error()}
	var e *Error
	if errors.As(err, &e) {
		bare := *e
		bare.Tenant = ""
		bare.Store = ""
		f.Store, f.Message, f.Statement, f.Hint, f.Output = e.Store, bare.Error(), e.Statement, e.Hint, e.Output
	}
	return f
}

// FailureGroup is one fault and every tenant that has it.
type FailureGroup struct {
	Fingerprint string `json:"fingerprint"`
	Code        string `json:"code"`
	Store       string `json:"store,omitempty"`
	Message     string `json:"message"` // of the first tenant
	Statement   string `json:"statement,omitempty"`
	Hint        string `json:"hint,omitempty"`
	Count       int    `json:"count"`
	Tenants     []Name `json:"tenants"` // the first 20
}

const (
	groupNames = 20  // names kept per group
	maxGroups  = 500 // further faults are counted in the last group: memory stays bounded
)

// failureGroups gathers failures by code and statement, so that 400 tenants with one fault are one row.
type failureGroups struct {
	order []string
	byKey map[string]*FailureGroup
}

func (g *failureGroups) add(name Name, f *Failure) {
	statement := f.Statement
	if statement == "" {
		statement = f.Store
	}
	sum := sha256.Sum256([]byte(f.Code + "\x00" + statement))
	key := hex.EncodeToString(sum[:6])
	if g.byKey == nil {
		g.byKey = map[string]*FailureGroup{}
	}
	group, ok := g.byKey[key]
	if !ok {
		if len(g.order) >= maxGroups {
			group = g.byKey[g.order[maxGroups-1]]
		} else {
			group = &FailureGroup{Fingerprint: key, Code: f.Code, Store: f.Store, Message: f.Message, Statement: f.Statement, Hint: f.Hint}
			g.byKey[key] = group
			g.order = append(g.order, key)
		}
	}
	group.Count++
	if len(group.Tenants) < groupNames {
		group.Tenants = append(group.Tenants, name)
	}
}

func (g *failureGroups) list() []FailureGroup {
	out := make([]FailureGroup, 0, len(g.order))
	for _, k := range g.order {
		out = append(out, *g.byKey[k])
	}
	return out
}
