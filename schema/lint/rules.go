package lint

// Rules for tables in use, by their ids.
const (
	AddCheck              = "add-check"
	AddColumnRewrite      = "add-column-rewrite"
	AddExclusion          = "add-exclusion"
	AddForeignKey         = "add-foreign-key"
	AddNotNullColumn      = "add-not-null-column"
	AddUnique             = "add-unique"
	AttachPartition       = "attach-partition"
	ChangeType            = "change-type"
	CreatePartition       = "create-partition"
	CreateTrigger         = "create-trigger"
	DetachPartition       = "detach-partition"
	DisableTrigger        = "disable-trigger"
	DomainConstraint      = "domain-constraint"
	DropColumn            = "drop-column"
	DropIndexBlocking     = "drop-index-blocking"
	DropTable             = "drop-table"
	EnumValueUsed         = "enum-value-used"
	IndexBlocking         = "index-blocking"
	LockTable             = "lock-table"
	MassChange            = "mass-change"
	RefreshBlocking       = "refresh-blocking"
	ReindexBlocking       = "reindex-blocking"
	RenameColumn          = "rename-column"
	RenameTable           = "rename-table"
	RewriteTable          = "rewrite-table"
	SetNotNull            = "set-not-null"
	SeveralLocks          = "several-locks"
	Truncate              = "truncate"
	VacuumFull            = "vacuum-full"
	ValidateAtOnce        = "validate-at-once"
	noTransactionFile     = "in a file of its own, marked '-- +goose NO TRANSACTION'"
	afterwardsInAnother   = "and VALIDATE CONSTRAINT in a later file, which blocks neither reading nor writing"
	expandAndContractPlan = "add the new one, let the application write both, copy the old rows in batches, switch over, then drop the old one"
)

// Rule is what a migration should not do to a table in use.
type Rule struct {
	ID          string
	Reason      string
	Alternative string
}

// Rules are in the order of their ids.
var Rules = []Rule{
	{
		AddCheck, "ADD CHECK reads the whole table while nobody else can read or write it",
		"ADD CONSTRAINT ... CHECK (...) NOT VALID, " + afterwardsInAnother,
	},
	{
		AddColumnRewrite, "a column whose value differs from row to row (volatile default, identity, serial, stored expression) rewrites the whole table under an ACCESS EXCLUSIVE lock",
		"add the column without a default, set the default in a second statement, then fill old rows in batches; or set it from the application",
	},
	{
		AddExclusion, "ADD EXCLUDE builds an index while nobody else can read or write the table",
		"there is none: run it at a quiet time, or make a new table with the constraint and copy the rows in batches",
	},
	{
		AddForeignKey, "ADD FOREIGN KEY reads the whole table while nobody else can write it or the one it refers to",
		"ADD CONSTRAINT ... FOREIGN KEY ... NOT VALID, " + afterwardsInAnother,
	},
	{
		AddNotNullColumn, "a NOT NULL column without a default fails in every tenant whose table has a row, and running code does not fill it",
		"give it a constant DEFAULT, which is free; or add it without NOT NULL, fill it in batches, then make it NOT NULL",
	},
	{
		AddUnique, "ADD UNIQUE or PRIMARY KEY builds its index while nobody else can read or write the table",
		"CREATE UNIQUE INDEX CONCURRENTLY " + noTransactionFile + ", then ADD CONSTRAINT ... USING INDEX",
	},
	{
		AttachPartition, "ATTACH PARTITION reads the new partition, and the default one, while nobody else can use them",
		"first give the partition a CHECK constraint that says what its bounds say: then nothing is read",
	},
	{
		ChangeType, "the change rewrites the whole table and its indexes under an ACCESS EXCLUSIVE lock",
		"a new column: " + expandAndContractPlan,
	},
	{
		CreatePartition, "CREATE TABLE ... PARTITION OF takes the parent table from everybody else",
		"CREATE TABLE ... (LIKE parent INCLUDING ALL), then ALTER TABLE parent ATTACH PARTITION",
	},
	{
		CreateTrigger, "CREATE TRIGGER stops writing to the table, and running code meets the trigger at once",
		"keep it in a file of its own, so that the lock is short, and make sure that the running code can live with it",
	},
	{
		DetachPartition, "DETACH PARTITION takes the parent table from everybody else",
		"DETACH PARTITION ... CONCURRENTLY " + noTransactionFile,
	},
	{
		DisableTrigger, "a disabled trigger is so for everybody: what it guards is unguarded until it is enabled again, foreign keys included",
		"SET LOCAL session_replication_role = replica, which is for this transaction alone",
	},
	{
		DomainConstraint, "a constraint of a domain reads every table that has a column of it, while nobody else can write them",
		"ALTER DOMAIN ... ADD CONSTRAINT ... NOT VALID, and VALIDATE CONSTRAINT in a later file",
	},
	{
		DropColumn, "running code that still names the column fails",
		"deploy code that no longer uses it, then drop it in a later release, and ignore this rule there",
	},
	{
		DropIndexBlocking, "DROP INDEX takes the table from everybody else, and waits behind its longest query with all others behind it",
		"DROP INDEX CONCURRENTLY IF EXISTS " + noTransactionFile,
	},
	{
		DropTable, "running code that still uses the table fails, and its rows are gone",
		"deploy code that no longer uses it, then drop it in a later release, and ignore this rule there",
	},
	{
		EnumValueUsed, "a value that is added to an enum cannot be used in the same transaction",
		"add the value in a file before this one",
	},
	{
		IndexBlocking, "CREATE INDEX stops writing to the table until the index is built",
		"CREATE INDEX CONCURRENTLY IF NOT EXISTS " + noTransactionFile,
	},
	{
		LockTable, "LOCK TABLE holds everybody up until the file ends",
		"leave it out: each statement takes the lock that it needs; or lock rows, with SELECT ... FOR UPDATE",
	},
	{
		MassChange, "UPDATE or DELETE of every row in one transaction keeps all rows locked until it ends, and leaves as many dead rows",
		"change rows in batches from outside, with tenantctl exec or the application; add WHERE for the rows that need it",
	},
	{
		RefreshBlocking, "REFRESH MATERIALIZED VIEW stops reading the view until it is done",
		"REFRESH MATERIALIZED VIEW CONCURRENTLY, which needs a unique index on the view",
	},
	{
		ReindexBlocking, "REINDEX stops writing to the table, and reading by the index, until it is done",
		"REINDEX ... CONCURRENTLY " + noTransactionFile,
	},
	{
		RenameColumn, "running code that still uses the old name fails",
		"keep the name; or a new column: " + expandAndContractPlan,
	},
	{
		RenameTable, "running code that still uses the old name fails",
		"keep the name; or after the renaming, in the same file, make a view with the old name, and drop it in a later release",
	},
	{
		RewriteTable, "the change rewrites the whole table under an ACCESS EXCLUSIVE lock",
		"make a new table that is so from the start, copy the rows in batches and exchange the two",
	},
	{
		SetNotNull, "SET NOT NULL reads the whole table while nobody else can read or write it",
		"ADD CONSTRAINT ... CHECK (column IS NOT NULL) NOT VALID, VALIDATE CONSTRAINT in a second file; SET NOT NULL in a third then reads nothing",
	},
	{
		SeveralLocks, "one transaction takes several tables from everybody else, and keeps the first while it waits for the next",
		"a file for each table: then each lock is short, and no two can wait for each other",
	},
	{
		Truncate, "TRUNCATE takes the table from everybody else, and all its rows",
		"DELETE in batches from outside; or a new table in place of the old one",
	},
	{
		VacuumFull, "VACUUM FULL and CLUSTER rewrite the whole table under an ACCESS EXCLUSIVE lock",
		"VACUUM without FULL; or pg_repack, which works beside the application",
	},
	{
		ValidateAtOnce, "VALIDATE in the transaction that added the constraint reads the whole table under the strong lock that adding took",
		"VALIDATE CONSTRAINT in a file of its own",
	},
}
