package legacy

import (
	"testing"
)

func TestNumbersHaveOneReading(t *testing.T) {
	for _, c := range []struct{ format, text, want string }{
		{"1.234,56", "1.234,56", "1234.56"},
		{"1.234,56", "-12.345.678,9", "-12345678.9"},
		{"1.234,56", "1234", "1234"},
		{"1.234,56", "1.5", ""},
		{"1.234,56", "1,234.56", ""},
		{"1.234,56", "12.34.567", ""},
		{"1,234.56", "1,234.56", "1234.56"},
		{"1,234.56", "1,23", ""},
		{"1234,56", "0,5", "0.5"},
		{"1234,56", "1.234", ""},
		{"1 234,56", "1 234 567,1", "1234567.1"},
		{"1'234.56", "1'234", "1234"},
		{"1.234,56", "", ""},
		{"1.234,56", "1e5", ""},
	} {
		f, err := parseNumberFormat(c.format)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := f.plain(c.text); got != c.want {
			t.Errorf("%s by %s: got %q, want %q", c.text, c.format, got, c.want)
		}
	}
	for _, wrong := range []string{"", "1,234,56", "1234", "0.5", "1 234 56", "#,##0.00"} {
		if _, err := parseNumberFormat(wrong); err == nil {
			t.Errorf("%q is taken for a format", wrong)
		}
	}
}

func TestNumbersAreReadByTheFormatThatTheMappingNames(t *testing.T) {
	s := newStand(t, "CREATE TABLE orders (id int PRIMARY KEY, total numeric(12,2), weight double precision, paid money)",
		`CREATE TABLE firms (id int PRIMARY KEY); INSERT INTO firms VALUES (1);
		CREATE TABLE orders (id int PRIMARY KEY, firm int DEFAULT 1, total text, weight text, paid text);
		INSERT INTO orders (id, total, weight, paid) VALUES (1, '1.234,50', '1,5', '12.50'), (2, '1.234', NULL, '3'), (3, '1,234.50', '1', '1'), (4, '1', '1', '1,234')`)
	m := s.mapping("tables:\n  - {from: orders, key: firm, columns: {id: id, total: {from: total, number_format: '1.234,56'}, weight: {from: weight, number_format: '1234,56'}, paid: paid}}\n")
	s.load(m, RunRequest{}, 2)
	s.want("SELECT id, total, weight, paid::numeric FROM t_f1.orders ORDER BY id", "1|1234.50|1.5|12.50", "2|1234.00|NULL|3.00")
	s.want("SELECT code, row_key, reason FROM tenantctl.import_rejects ORDER BY row_key",
		`unreadable|["3"]|"1,234.50" is not in the number_format of the mapping (column total)`,
		`unreadable|["4"]|"1,234" is no number without separators; name its number_format in the mapping (column paid)`)
	s.clean(m)
	s.sql("UPDATE t_f1.orders SET total = total + 0.01 WHERE id = 2")
	s.differs(m, "orders", `["2"]`)
	// Those of the whole source hold for columns that are texts there.
	m.Sources["legacy"].NumberFormat = "1.234,56x"
	if _, err := Open(t.Context(), m, s.options); err == nil {
		t.Error("a format that is none was taken")
	}
}
