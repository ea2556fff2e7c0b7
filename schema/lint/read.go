package lint

import (
	"cmp"
	"slices"
	"strings"
)

// read looks at what one statement does. Of a kind that is not here, no lock on a table is known.
func (r *reader) read(s *statement) {
	switch {
	case s.AlterTableStmt != nil:
		r.alterTable(s.AlterTableStmt)
	case s.CreateStmt != nil:
		r.createTable(s.CreateStmt)
	case s.CreateTableAsStmt != nil:
		r.makes(s.CreateTableAsStmt.Into.Rel)
		r.reads()
	case s.IndexStmt != nil:
		r.createIndex(s.IndexStmt)
	case s.ReindexStmt != nil:
		r.reindex(s.ReindexStmt)
	case s.DropStmt != nil:
		r.drop(s.DropStmt)
	case s.RenameStmt != nil:
		r.rename(s.RenameStmt)
	case s.InsertStmt != nil:
		r.changes(s.InsertStmt, "")
	case s.UpdateStmt != nil:
		r.changes(s.UpdateStmt, "UPDATE")
	case s.DeleteStmt != nil:
		r.changes(s.DeleteStmt, "DELETE")
	case s.MergeStmt != nil:
		r.changes(s.MergeStmt, "MERGE")
	case s.SelectStmt != nil:
		r.makes(s.SelectStmt.IntoClause.Rel)
		r.reads()
	case s.CopyStmt != nil:
		if s.CopyStmt.IsFrom && s.CopyStmt.Relation != nil {
			r.lock(s.CopyStmt.Relation.name(), RowExclusive)
		}
		r.reads()
	case s.TruncateStmt != nil:
		r.truncate(s.TruncateStmt)
	case s.LockStmt != nil:
		for _, t := range s.LockStmt.Relations {
			r.lock(t.RangeVar.name(), max(AccessShare, min(s.LockStmt.Mode, AccessExclusive)))
			if r.live(t.RangeVar.name()) {
				r.found(LockTable, 0, "LOCK TABLE %s IN %s MODE holds until the file ends", t.RangeVar.name(), max(AccessShare, min(s.LockStmt.Mode, AccessExclusive)))
			}
		}
	case s.VacuumStmt != nil:
		r.vacuum(s.VacuumStmt)
	case s.ClusterStmt != nil:
		r.anew(s.ClusterStmt.Relation.name(), "CLUSTER")
	case s.RefreshMatViewStmt != nil:
		r.refresh(s.RefreshMatViewStmt)
	case s.ViewStmt != nil:
		if s.ViewStmt.Replace && r.known[s.ViewStmt.View.name()] {
			r.lock(s.ViewStmt.View.name(), AccessExclusive)
		} else {
			r.makes(s.ViewStmt.View)
		}
		r.reads()
	default:
		r.others(s)
	}
}

// others are the statements that take one lock and do no more to a table.
func (r *reader) others(s *statement) {
	switch {
	case s.CreateTrigStmt != nil:
		name := s.CreateTrigStmt.Relation.name()
		r.lock(name, ShareRowExclusive)
		if r.live(name) {
			r.found(CreateTrigger, 0, "CREATE TRIGGER stops writing to %s, and running code meets the trigger at once", name)
		}
	case s.CreatePolicyStmt != nil:
		r.lock(s.CreatePolicyStmt.Table.name(), AccessExclusive)
	case s.AlterPolicyStmt != nil:
		r.lock(s.AlterPolicyStmt.Table.name(), AccessExclusive)
	case s.RuleStmt != nil:
		r.lock(s.RuleStmt.Relation.name(), AccessExclusive)
	case s.CreateStatsStmt != nil:
		for _, t := range s.CreateStatsStmt.Relations {
			r.lock(t.RangeVar.name(), ShareUpdateExclusive)
		}
	case s.CommentStmt != nil:
		switch s.CommentStmt.ObjType {
		case "OBJECT_TABLE", "OBJECT_VIEW", "OBJECT_MATVIEW", "OBJECT_SEQUENCE":
			r.lock(s.CommentStmt.Object.relation(0), ShareUpdateExclusive)
		case "OBJECT_COLUMN":
			r.lock(s.CommentStmt.Object.relation(1), ShareUpdateExclusive)
		}
	case s.AlterSeqStmt != nil:
		r.lock(s.AlterSeqStmt.Sequence.name(), ShareRowExclusive)
	case s.AlterObjectSchemaStmt != nil:
		switch s.AlterObjectSchemaStmt.ObjectType {
		case "OBJECT_TABLE", "OBJECT_VIEW", "OBJECT_MATVIEW", "OBJECT_SEQUENCE":
			r.lock(s.AlterObjectSchemaStmt.Relation.name(), AccessExclusive)
		}
	case s.CreateEnumStmt != nil:
		r.enums[joined(s.CreateEnumStmt.TypeName)] = true
	case s.AlterEnumStmt != nil:
		if e := s.AlterEnumStmt; e.OldVal == "" && r.transaction && !r.enums[joined(e.TypeName)] {
			r.values[e.NewVal] = joined(e.TypeName)
		}
	case s.CreateDomainStmt != nil:
		r.domains[joined(s.CreateDomainStmt.DomainName)] = len(s.CreateDomainStmt.Constraints) > 0
	case s.AlterDomainStmt != nil:
		r.alterDomain(s.AlterDomainStmt)
	case s.DoStmt != nil, s.CallStmt != nil:
		r.Opaque = true
	}
}

// makes remembers a table that the statement makes.
func (r *reader) makes(rel relation) {
	if name := rel.name(); name != "" {
		r.made[name], r.known[name] = true, true
	}
}

// reads notes what a query within the statement reads, and which rows it locks.
func (r *reader) reads() {
	ctes := map[string]bool{}
	locking := false
	type use struct {
		table string
		at    float64
	}
	var used []use
	walk(r.node, func(kind string, n map[string]any) {
		name, _ := n["relname"].(string)
		switch {
		case kind == "CommonTableExpr":
			cte, _ := n["ctename"].(string)
			ctes[cte] = true
		case kind == "LockingClause":
			locking = true
		case kind == "RangeVar" && name != "":
			if schema, _ := n["schemaname"].(string); schema != "" {
				name = schema + "." + name
			}
			at, _ := n["location"].(float64)
			used = append(used, use{name, at})
		}
	})
	slices.SortFunc(used, func(a, b use) int { return cmp.Or(cmp.Compare(a.at, b.at), strings.Compare(a.table, b.table)) })
	for _, u := range used {
		switch {
		case ctes[u.table]:
		case locking:
			r.lock(u.table, RowShare)
		default:
			r.lock(u.table, AccessShare)
		}
	}
}

// usesValues finds a value of an enum that the same transaction added.
func (r *reader) usesValues() {
	if len(r.values) == 0 {
		return
	}
	walk(r.node, func(kind string, n map[string]any) {
		s, _ := n["sval"].(map[string]any)
		value, _ := s["sval"].(string)
		if enum, ok := r.values[value]; ok && kind == "A_Const" {
			at, _ := n["location"].(float64)
			r.found(EnumValueUsed, int(at), "'%s' was added to %s in this transaction, in which it cannot be used yet", value, enum)
		}
	})
}

// changes is a statement that writes rows. what is its key word where it goes through the table.
func (r *reader) changes(c *change, what string) {
	name := c.Relation.name()
	r.lock(name, RowExclusive)
	r.reads()
	if what == "" {
		return
	}
	r.scan(name)
	if len(c.WhereClause) == 0 && what != "MERGE" && r.live(name) {
		r.found(MassChange, 0, "%s of every row of %s: all stay locked until the transaction ends", what, name)
	}
}

func (r *reader) createTable(s *createTable) {
	name := s.Relation.name()
	if s.IfNotExists && r.known[name] {
		return // it is there, and nothing is done
	}
	for _, parent := range s.InhRelations {
		if s.PartBound == nil {
			r.lock(parent.RangeVar.name(), ShareUpdateExclusive)
			continue
		}
		r.lock(parent.RangeVar.name(), AccessExclusive)
		if r.live(parent.RangeVar.name()) {
			r.found(CreatePartition, parent.RangeVar.Location, "CREATE TABLE %s PARTITION OF %s takes %s from everybody else", name, parent.RangeVar.name(), parent.RangeVar.name())
		}
	}
	r.makes(s.Relation)
	r.tables[name] = nil
	for _, e := range s.TableElts {
		switch {
		case e.ColumnDef != nil:
			r.define(name, e.ColumnDef)
			for _, c := range e.ColumnDef.Constraints {
				r.lock(c.Constraint.PKTable.name(), ShareRowExclusive)
			}
		case e.Constraint != nil:
			r.constrain(name, e.Constraint)
			r.lock(e.Constraint.PKTable.name(), ShareRowExclusive)
		case e.TableLikeClause != nil:
			r.lock(e.TableLikeClause.Relation.name(), AccessShare)
		}
	}
	r.table(name)
}

func (r *reader) createIndex(s *createIndex) {
	name := s.Relation.name()
	if s.IdxName != "" {
		r.indexes[s.IdxName] = name
	}
	r.scan(name)
	if s.Concurrent {
		r.lock(name, ShareUpdateExclusive)
		return
	}
	r.lock(name, Share)
	if r.live(name) {
		r.found(IndexBlocking, 0, "CREATE INDEX stops writing to %s until the index is built", name)
	}
}

func (r *reader) reindex(s *reindex) {
	name := s.Relation.name()
	switch s.Kind {
	case "REINDEX_OBJECT_INDEX":
		name = r.indexes[name]
	case "REINDEX_OBJECT_TABLE":
	default: // a schema or database: every table
		r.Opaque = true
	}
	if has(s.Params, "concurrently") {
		r.lock(name, ShareUpdateExclusive)
	} else {
		r.lock(name, Share)
		if name == "" || r.live(name) {
			r.found(ReindexBlocking, 0, "REINDEX stops writing to the table, and reading by the index, until it is done")
		}
	}
	if name != "" {
		r.scan(name)
	}
}

func (r *reader) drop(s *drop) {
	r.Opaque = s.Behavior == cascade
	for _, o := range s.Objects {
		name := o.relation(0)
		switch s.RemoveType {
		case "OBJECT_TABLE", "OBJECT_VIEW", "OBJECT_MATVIEW", "OBJECT_SEQUENCE", "OBJECT_FOREIGN_TABLE":
			r.lock(name, AccessExclusive)
			for _, other := range r.refersTo(name) {
				r.lock(other, AccessExclusive)
			}
			if s.Behavior == cascade {
				for _, other := range r.referrers(name) {
					r.lock(other, AccessExclusive)
				}
			}
			if r.live(name) && s.RemoveType == "OBJECT_TABLE" {
				r.found(DropTable, 0, "DROP TABLE %s: running code that still uses it fails, and its rows are gone", name)
			}
			r.forget(name)
			delete(r.known, name)
			delete(r.made, name)
		case "OBJECT_INDEX":
			r.dropIndex(name, s.Concurrent)
		case "OBJECT_TRIGGER", "OBJECT_POLICY", "OBJECT_RULE":
			r.lock(o.relation(1), AccessExclusive)
		}
	}
}

func (r *reader) dropIndex(index string, concurrently bool) {
	table := r.indexes[index]
	delete(r.indexes, index)
	if concurrently {
		r.lock(table, ShareUpdateExclusive)
		return
	}
	r.lock(table, AccessExclusive)
	if table == "" {
		table = "its table"
	} else if !r.live(table) {
		return
	}
	r.found(DropIndexBlocking, 0, "DROP INDEX %s takes %s from everybody else, and waits behind its longest query with all others behind it", index, table)
}

func (r *reader) rename(s *rename) {
	name := s.Relation.name()
	switch s.RenameType {
	case "OBJECT_TABLE":
		r.lock(name, AccessExclusive)
		if r.live(name) {
			r.found(RenameTable, 0, "running code that still uses the name %s fails", name)
		} else {
			r.made[s.NewName] = true
		}
		r.History.rename(name, s.NewName)
	case "OBJECT_COLUMN":
		r.lock(name, AccessExclusive)
		if r.live(name) {
			r.found(RenameColumn, 0, "running code that still uses the name %s.%s fails", name, s.SubName)
		}
		if t := r.tables[name]; t != nil && t.columns[s.SubName] != nil {
			t.columns[s.NewName] = t.columns[s.SubName]
			delete(t.columns, s.SubName)
		}
	case "OBJECT_TABCONSTRAINT":
		r.lock(name, AccessExclusive)
		if t := r.tables[name]; t != nil && t.constraints[s.SubName] != nil {
			t.constraints[s.NewName] = t.constraints[s.SubName]
			delete(t.constraints, s.SubName)
		}
	case "OBJECT_INDEX":
		if table, ok := r.indexes[name]; ok {
			r.indexes[s.NewName] = table
			delete(r.indexes, name)
		}
	case "OBJECT_VIEW", "OBJECT_MATVIEW", "OBJECT_SEQUENCE", "OBJECT_TRIGGER", "OBJECT_POLICY", "OBJECT_RULE":
		r.lock(name, AccessExclusive)
	}
}

func (r *reader) truncate(s *truncate) {
	for _, t := range s.Relations {
		name := t.RangeVar.name()
		r.lock(name, AccessExclusive)
		if s.Behavior == cascade {
			for _, other := range r.referrers(name) {
				r.lock(other, AccessExclusive)
			}
		}
		if r.live(name) {
			r.found(Truncate, t.RangeVar.Location, "TRUNCATE takes %s from everybody else, and all its rows", name)
		}
	}
}

func (r *reader) vacuum(s *vacuum) {
	full := has(s.Options, "full")
	for _, t := range s.Rels {
		name := t.VacuumRelation.Relation.name()
		if full {
			r.anew(name, "VACUUM FULL")
			continue
		}
		r.lock(name, ShareUpdateExclusive)
		r.scan(name)
	}
	if len(s.Rels) > 0 {
		return
	}
	r.Opaque = true // every table
	if full {
		r.found(VacuumFull, 0, "VACUUM FULL writes every table anew, in all tenants' schemas")
	}
}

// anew is a statement that writes a table anew at once.
func (r *reader) anew(name, what string) {
	if name == "" {
		r.Opaque = true // every table that was clustered before
	} else {
		r.lock(name, AccessExclusive)
		r.rewrite(name)
	}
	if name == "" || r.live(name) {
		r.found(VacuumFull, 0, "%s rewrites the whole table under an ACCESS EXCLUSIVE lock", strings.TrimSpace(what+" "+name))
	}
}

func (r *reader) refresh(s *refresh) {
	name := s.Relation.name()
	if s.Concurrent {
		r.lock(name, Exclusive)
		r.scan(name)
		return
	}
	r.lock(name, AccessExclusive)
	r.rewrite(name)
	if r.live(name) {
		r.found(RefreshBlocking, 0, "REFRESH MATERIALIZED VIEW stops reading %s until it is done", name)
	}
}

func (r *reader) alterDomain(s *alterDomain) {
	name := joined(s.TypeName)
	checks := s.Subtype == "V" || s.Subtype == "O" || s.Subtype == "C" && s.Def.Constraint != nil && !s.Def.Constraint.SkipValidation
	if s.Subtype == "C" {
		r.domains[name] = true
	}
	if !checks {
		return
	}
	for _, table := range r.ofType(name) {
		r.lock(table, Share)
		r.scan(table)
	}
	if s.Subtype != "V" && len(r.ofType(name)) > 0 {
		r.found(DomainConstraint, 0, "the constraint reads %s while nobody else can write there", strings.Join(r.ofType(name), ", "))
	}
}
