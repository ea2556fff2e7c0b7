package tenant

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"
)

// atVersion is what a structure is compared within: tenants that have the same migrations.
type atVersion struct {
	version int64
	applied int
}

// alike are the tenants of one structure at one version.
type alike struct {
	fingerprint string
	count       int
	newest      Tenant // the one that was made last
	asked       []uuid.UUID
}

// structures are the structures at each version.
type structures map[atVersion]map[string]*alike

func (s structures) add(at atVersion, fingerprint string, t Tenant, asked bool) {
	if s[at] == nil {
		s[at] = map[string]*alike{}
	}
	a := s[at][fingerprint]
	if a == nil {
		a = &alike{fingerprint: fingerprint}
		s[at][fingerprint] = a
	}
	a.count++
	if a.count == 1 || bytes.Compare(a.newest.ID[:], t.ID[:]) < 0 {
		a.newest = t
	}
	if asked {
		a.asked = append(a.asked, t.ID)
	}
}

// usual is the structure that most tenants at a version have, and how many tenants were looked at. Of two that are as
// frequent it is that of the tenant made last, which is nearest to the files.
func (s structures) usual(at atVersion) (usual *alike, of int) {
	for _, a := range s[at] {
		of += a.count
		if usual == nil || cmp.Or(cmp.Compare(a.count, usual.count), bytes.Compare(a.newest.ID[:], usual.newest.ID[:])) > 0 {
			usual = a
		}
	}
	return usual, of
}

// versionsAndStructures compares the version books with the catalog, and each structure with what most tenants at the
// same version have.
func (x *verifying) versionsAndStructures(ctx context.Context, store Verifier, found func(Fault)) error {
	known, err := knownVersions(ctx, store)
	if err != nil {
		return err
	}
	all := structures{}
	for i, ts := range [][]Tenant{x.asked, x.beside} {
		ts = slices.DeleteFunc(slices.Clone(ts), func(t Tenant) bool { return !t.State.Migrates() })
		for some := range slices.Chunk(ts, page) {
			if err := readStructures(ctx, store, known, some, i == 0, all, found); err != nil {
				return err
			}
		}
	}
	versions := make([]atVersion, 0, len(all))
	for at := range all {
		versions = append(versions, at)
	}
	slices.SortFunc(versions, func(a, b atVersion) int {
		return cmp.Or(cmp.Compare(b.version, a.version), cmp.Compare(b.applied, a.applied))
	})
	for _, at := range versions {
		usual, of := all.usual(at)
		x.v.Structures = append(x.v.Structures, FleetStructure{Store: store.Kind(), Version: at.version, Tenants: usual.count, Of: of, Example: usual.newest.Name})
		unusual := slices.SortedFunc(maps.Values(all[at]), func(a, b *alike) int {
			return cmp.Or(cmp.Compare(b.count, a.count), cmp.Compare(a.fingerprint, b.fingerprint))
		})
		for _, a := range unusual {
			if a == usual {
				continue
			}
			if len(a.asked) > 0 {
				x.v.drifts = append(x.v.drifts, x.drift(store, at, a, usual, of))
			}
			for _, id := range a.asked {
				found(Fault{
					Tenant: id, Rule: ruleDrift, Object: "structure " + shortPrint(a.fingerprint),
					Message: fmt.Sprintf("is not the one that %d of %s at version %d have", usual.count, Plural(of, "tenant"), at.version),
					Hint:    "tenantctl verify --diff NAME shows the difference",
				})
			}
		}
	}
	return nil
}

// shortPrint tells fingerprints apart for people.
func shortPrint(fingerprint string) string {
	return fingerprint[max(0, len(fingerprint)-8):]
}

// knownVersions tells of a version whether there is a file for it. Where another tool migrates there are none: what it says
// is known.
func knownVersions(ctx context.Context, store Verifier) (known func(version int64) bool, err error) {
	if delegates(store) {
		return anyVersion, nil
	}
	files, err := store.Files(ctx)
	if err != nil && !errors.Is(err, ErrNoMigrations) {
		return nil, err
	}
	return func(version int64) bool {
		_, found := slices.BinarySearchFunc(files, version, func(f MigrationFile, v int64) int { return cmp.Compare(f.Version, v) })
		return found || version == 0
	}, nil
}

func anyVersion(int64) bool { return true }

func readStructures(ctx context.Context, store Verifier, known func(int64) bool, ts []Tenant, asked bool, all structures, found func(Fault)) error {
	versions, err := store.Versions(ctx, ts)
	if err != nil {
		return err
	}
	var sound []Tenant
	var at []atVersion
	for i, v := range versions {
		t := ts[i]
		if v.Presence != Ours { // which Verify tells
			continue
		}
		fault := Fault{Tenant: t.ID}
		switch {
		case errors.Is(v.Err, ErrLocked):
			fault.Rule, fault.Message, fault.Hint = ruleUnreadable, NewFailure(v.Err).Message, NewFailure(v.Err).Hint
		case v.Err != nil:
			f := NewFailure(v.Err)
			fault.Rule, fault.Message, fault.Hint = ruleVersionBook, f.Message, f.Hint
		case !known(v.Version):
			fault.Rule, fault.Message = ruleVersionUnknown, fmt.Sprintf("version %d is applied, and there is no file for it", v.Version)
			fault.Hint = "use the newer folder of migrations, or take it back with tenantctl migrate down where the file is still known"
		case v.Version != t.Versions[store.Kind()]:
			fault.Rule = ruleVersionCache
			fault.Message = fmt.Sprintf("the catalog says version %d, and the version book %d", t.Versions[store.Kind()], v.Version)
			fault.Hint, fault.Fix = "tenantctl verify --fix, or tenantctl migrate status --verify", fmt.Sprintf("record version %d in the catalog", v.Version)
		}
		if fault.Rule != "" && asked {
			found(fault)
		}
		if v.Err == nil {
			sound, at = append(sound, t), append(at, atVersion{v.Version, v.Applied})
		}
	}
	prints, err := store.Structures(ctx, sound)
	var away Unreadable
	if err != nil && !errors.As(err, &away) {
		return err
	}
	for id, why := range away {
		if asked {
			found(Fault{Tenant: id, Rule: ruleUnreadable, Message: why.Msg, Hint: why.Hint})
		}
	}
	for i, p := range prints {
		if p != "" {
			all.add(at[i], p, sound[i], asked)
		}
	}
	return nil
}
