package lint

import (
	"slices"
	"strings"
)

// light are the commands of ALTER TABLE that need less than ACCESS EXCLUSIVE.
var light = map[string]Mode{
	"AT_SetStatistics": ShareUpdateExclusive, "AT_SetOptions": ShareUpdateExclusive, "AT_ResetOptions": ShareUpdateExclusive,
	"AT_ClusterOn": ShareUpdateExclusive, "AT_DropCluster": ShareUpdateExclusive, "AT_ValidateConstraint": ShareUpdateExclusive,
	"AT_AttachPartition": ShareUpdateExclusive, "AT_DetachPartitionFinalize": ShareUpdateExclusive,
	"AT_SetRelOptions": ShareUpdateExclusive, "AT_ResetRelOptions": ShareUpdateExclusive,
	"AT_EnableTrig": ShareRowExclusive, "AT_EnableAlwaysTrig": ShareRowExclusive, "AT_EnableReplicaTrig": ShareRowExclusive,
	"AT_EnableTrigAll": ShareRowExclusive, "AT_EnableTrigUser": ShareRowExclusive,
	"AT_DisableTrig": ShareRowExclusive, "AT_DisableTrigAll": ShareRowExclusive, "AT_DisableTrigUser": ShareRowExclusive,
}

// heavyOptions are the storage parameters that need ACCESS EXCLUSIVE all the same.
var heavyOptions = []string{"user_catalog_table", "security_barrier", "security_invoker", "check_option", "buffering", "fastupdate"}

// remakes are the commands that write the table anew, whatever is in it.
var remakes = map[string]string{
	"AT_SetLogged": "SET LOGGED", "AT_SetUnLogged": "SET UNLOGGED", "AT_SetTableSpace": "SET TABLESPACE",
	"AT_SetAccessMethod": "SET ACCESS METHOD", "AT_SetExpression": "SET EXPRESSION",
}

func (r *reader) alterTable(s *alterTable) {
	name := s.Relation.name()
	if s.ObjType == "OBJECT_INDEX" {
		return // of an index: its table is not locked
	}
	for _, c := range s.Cmds {
		r.alter(name, &c.AlterTableCmd)
	}
}

// alter looks at one command of ALTER TABLE.
func (r *reader) alter(name string, c *alterCommand) {
	mode, ok := light[c.Subtype]
	if !ok || strings.HasSuffix(c.Subtype, "RelOptions") && slices.ContainsFunc(c.Def.List.Items, func(o option) bool {
		return slices.Contains(heavyOptions, o.DefElem.DefName)
	}) {
		mode = AccessExclusive
	}
	t := r.table(name)
	switch c.Subtype {
	case "AT_AddColumn":
		if c.Def.ColumnDef != nil {
			r.lock(name, mode)
			r.addColumn(name, c.Def.ColumnDef)
		}
		return
	case "AT_AddConstraint":
		if c.Def.Constraint != nil {
			r.addConstraint(name, c.Def.Constraint)
		}
		return
	case "AT_DetachPartition":
		r.detach(name, c)
		return
	}
	r.lock(name, mode)
	r.Opaque = r.Opaque || c.Behavior == cascade
	switch c.Subtype {
	case "AT_AlterColumnType":
		if c.Def.ColumnDef != nil {
			r.changeType(name, c.Name, c.Def.ColumnDef)
		}
	case "AT_SetNotNull":
		if !t.neverNull(c.Name) {
			r.scan(name)
			if r.live(name) {
				r.found(SetNotNull, 0, "SET NOT NULL reads all of %s while nobody else can read or write it", name)
			}
		}
		t.column(c.Name).notNull = true
	case "AT_DropNotNull":
		t.column(c.Name).notNull = false
	case "AT_DropColumn":
		for _, other := range t.keysOf(c.Name) {
			r.lock(other, AccessExclusive)
		}
		delete(t.columns, c.Name)
		if r.live(name) {
			r.found(DropColumn, 0, "running code that still names %s.%s fails", name, c.Name)
		}
	case "AT_DropConstraint":
		if k := t.constraints[c.Name]; k != nil {
			r.lock(k.refers, AccessExclusive)
			delete(t.constraints, c.Name)
		}
	case "AT_ValidateConstraint":
		r.validate(name, c.Name)
	case "AT_AttachPartition":
		r.attach(name, c)
	case "AT_AddInherit":
		if c.Def.RangeVar != nil {
			r.lock(c.Def.RangeVar.name(), ShareUpdateExclusive)
		}
	case "AT_DropInherit":
		if c.Def.RangeVar != nil {
			r.lock(c.Def.RangeVar.name(), AccessShare)
		}
	case "AT_DisableTrig", "AT_DisableTrigAll", "AT_DisableTrigUser":
		if r.live(name) {
			r.found(DisableTrigger, 0, "what the trigger of %s guards is unguarded for everybody until it is enabled again", name)
		}
	default:
		if what, ok := remakes[c.Subtype]; ok {
			r.rewrite(name)
			if r.live(name) {
				r.found(RewriteTable, 0, "%s rewrites all of %s under an ACCESS EXCLUSIVE lock", what, name)
			}
		}
	}
}

func (r *reader) addColumn(name string, c *columnDef) {
	has := map[string]*constraint{}
	for _, k := range c.Constraints {
		has[k.Constraint.ConType] = &k.Constraint
	}
	why := ""
	kind := c.TypeName.base()
	switch def := has["CONSTR_DEFAULT"]; {
	case strings.HasPrefix(kind, "serial"), kind == "bigserial", kind == "smallserial":
		why = kind + " numbers the rows that are there"
	case has["CONSTR_IDENTITY"] != nil:
		why = "an identity column numbers the rows that are there"
	case has["CONSTR_GENERATED"] != nil:
		why = "its expression is computed for the rows that are there"
	case r.domains[kind]:
		why = "the domain " + kind + " has a constraint, which is checked for every row"
	case def != nil:
		switch function, sure := calls(def.RawExpr); {
		case sure:
			why = function + "() gives each row a value of its own"
		case function != "":
			why = function + "() may give each row a value of its own, unless it is stable or immutable"
		}
	}
	filled := why != "" || has["CONSTR_DEFAULT"] != nil
	if why != "" {
		r.rewrite(name)
		if r.live(name) {
			r.found(AddColumnRewrite, c.Location, "adding %s rewrites all of %s under an ACCESS EXCLUSIVE lock: %s", c.ColName, name, why)
		}
	}
	if (has["CONSTR_NOTNULL"] != nil || has["CONSTR_PRIMARY"] != nil) && !filled && r.live(name) {
		r.found(AddNotNullColumn, c.Location, "%s is NOT NULL and has no default: this fails in every tenant whose %s has a row", c.ColName, name)
	}
	if k := has["CONSTR_CHECK"]; k != nil {
		r.scan(name)
		if r.live(name) {
			r.found(AddCheck, k.Location, "the CHECK of %s reads all of %s while nobody else can read or write it", c.ColName, name)
		}
	}
	for _, kind := range []string{"CONSTR_UNIQUE", "CONSTR_PRIMARY"} {
		if k := has[kind]; k != nil {
			r.buildsIndex(name, k)
		}
	}
	if k := has["CONSTR_FOREIGN"]; k != nil {
		r.lock(k.PKTable.name(), ShareRowExclusive)
		if filled { // else every row has NULL, and PostgreSQL reads none
			r.scan(name)
			if r.live(name) {
				r.found(AddForeignKey, k.Location, "the foreign key of %s reads all of %s while nobody else can write it or %s", c.ColName, name, k.PKTable.name())
			}
		}
	}
	r.define(name, c)
}

func (r *reader) buildsIndex(name string, c *constraint) {
	r.scan(name)
	if !r.live(name) {
		return
	}
	rule, what := AddUnique, "UNIQUE"
	switch c.ConType {
	case "CONSTR_PRIMARY":
		what = "PRIMARY KEY"
	case "CONSTR_EXCLUSION":
		rule, what = AddExclusion, "EXCLUDE"
	}
	r.found(rule, c.Location, "%s builds an index while nobody else can read or write %s", what, name)
}

func (r *reader) addConstraint(name string, c *constraint) {
	defer r.constrain(name, c)
	if c.SkipValidation {
		r.notValid[name+" "+c.ConName] = true
	}
	switch c.ConType {
	case "CONSTR_FOREIGN":
		other := c.PKTable.name()
		r.lock(name, ShareRowExclusive)
		r.lock(other, ShareRowExclusive)
		if c.SkipValidation {
			return
		}
		r.scan(name)
		if r.live(name) {
			r.found(AddForeignKey, c.Location, "the foreign key reads all of %s while nobody else can write it or %s", name, other)
		}
	case "CONSTR_CHECK":
		r.lock(name, AccessExclusive)
		if c.SkipValidation {
			return
		}
		r.scan(name)
		if r.live(name) {
			r.found(AddCheck, c.Location, "ADD CHECK reads all of %s while nobody else can read or write it", name)
		}
	default:
		r.lock(name, AccessExclusive)
		if c.IndexName != "" { // the index is there
			delete(r.indexes, c.IndexName)
			return
		}
		r.buildsIndex(name, c)
	}
}

func (r *reader) validate(name, id string) {
	r.scan(name)
	if k := r.table(name).constraints[id]; k != nil {
		r.lock(k.refers, RowShare)
		k.valid = true
	}
	if r.transaction && r.notValid[name+" "+id] && r.live(name) {
		r.found(ValidateAtOnce, 0, "VALIDATE reads all of %s under the lock that adding %s took in this file", name, id)
	}
}

func (r *reader) changeType(name, col string, to *columnDef) {
	t := r.table(name)
	for _, other := range append(t.keysOf(col), r.keysTo(name, col)...) { // their foreign keys are made anew
		r.lock(other, AccessExclusive)
	}
	c := t.column(col)
	from := c.typ
	c.typ = &to.TypeName
	if from != nil && len(to.CollClause) == 0 && widens(from, &to.TypeName) && only(to.RawDefault, col, &to.TypeName) {
		return
	}
	r.rewrite(name)
	if !r.live(name) {
		return
	}
	if from == nil {
		r.found(ChangeType, to.Location, "%s.%s becomes %s, which rewrites all of %s under an ACCESS EXCLUSIVE lock, unless it was a narrower type of the same kind", name, col, &to.TypeName, name)
		return
	}
	r.found(ChangeType, to.Location, "%s.%s becomes %s instead of %s, which rewrites all of %s under an ACCESS EXCLUSIVE lock", name, col, &to.TypeName, from, name)
}

func (r *reader) attach(name string, c *alterCommand) {
	if c.Def.PartitionCmd == nil {
		return
	}
	part := c.Def.PartitionCmd.Name.name()
	r.lock(part, AccessExclusive)
	r.scan(part)
	if r.live(part) {
		r.found(AttachPartition, 0, "ATTACH PARTITION reads all of %s while nobody else can use it, unless a CHECK constraint says what its bounds say", part)
	}
}

func (r *reader) detach(name string, c *alterCommand) {
	if c.Def.PartitionCmd == nil {
		return
	}
	part := c.Def.PartitionCmd.Name.name()
	if c.Def.PartitionCmd.Concurrent {
		r.lock(name, ShareUpdateExclusive)
		r.lock(part, AccessExclusive)
		return
	}
	r.lock(name, AccessExclusive)
	r.lock(part, AccessExclusive)
	if r.live(name) {
		r.found(DetachPartition, 0, "DETACH PARTITION takes %s from everybody else", name)
	}
}
