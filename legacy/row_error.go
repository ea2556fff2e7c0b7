package legacy

import (
	"errors"
	"regexp"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"
)

var (
	columnPattern = regexp.MustCompile(`^COPY [^,]+, line \d+, column ([^:,]+)`)
	linePattern   = regexp.MustCompile(`(?m)^COPY .*?, line (\d+)`)
	valuePattern  = regexp.MustCompile(`(?m)^COPY .*?, line \d+, column `)
)

// lineOf is the line of a COPY that an error is about; 0 where it does not say.
func lineOf(pg *pgconn.PgError) int {
	m := linePattern.FindStringSubmatch(pg.Where)
	if m == nil {
		return 0
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		return 0
	}
	return n
}

var (
	// rowClasses are the SQLSTATE classes of data, constraints, triggers and functions, and of rows that are too long.
	rowClasses = []string{"20", "21", "22", "23", "27", "2F", "38", "39", "44", "54", "P0"}
	// serverClasses are PostgreSQL's other ones, and the catalog's own.
	serverClasses = []string{
		"00", "01", "02", "03", "08", "09", "0A", "0B", "0F", "0L", "0P", "0Z", "10", "24", "25", "26", "28", "2B", "2D", "34", "3B",
		"3D", "3F", "40", "42", "53", "55", "57", "58", "72", "F0", "HV", "TC", "XX",
	}
	// passingClasses say nothing of a value, wherever they come up: connections, transactions, locks, resources.
	passingClasses = []string{"08", "25", "28", "40", "53", "55", "57", "58", "TC"}
)

// errLeftOut stands for the error that PostgreSQL does not report: a trigger took a row and gave none back.
var errLeftOut = &pgconn.PgError{Code: "27000", Message: "a trigger of the tenant's table left the row out"}

// rowError tells whether an error is about a row's values: what a type, a constraint or a trigger does not take.
func rowError(err error) (*pgconn.PgError, bool) {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || len(pg.Code) < 2 {
		return pg, false
	}
	class := pg.Code[:2]
	switch {
	case slices.Contains(passingClasses, class):
		return pg, false
	case slices.Contains(rowClasses, class), pg.Code == "42804", !slices.Contains(serverClasses, class):
		return pg, true // a class that PostgreSQL does not have is what a trigger raised
	case valuePattern.MatchString(pg.Where):
		return pg, true // a type's input may use any code: tsquery and ltree report a syntax error
	}
	return pg, pg.Code == "XX000" && lineOf(pg) > 0 // PostGIS has no other one
}

// valueError tells whether an error of a statement that only converts values is about them.
func valueError(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && len(pg.Code) > 1 && !slices.Contains(passingClasses, pg.Code[:2])
}
