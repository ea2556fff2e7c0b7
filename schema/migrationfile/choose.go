package migrationfile

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Knows refuses a version that no file has. 0 is before the first.
func (f *Set) Knows(version int64) error {
	if version == 0 || f.ByVersion[version] != nil {
		return nil
	}
	return refuse(fmt.Sprintf("the newest is %d; tenantctl migrate status lists them", f.Newest()), "there is no migration with version %d", version)
}

// Above lists what is to be applied, oldest first.
func (f *Set) Above(book map[int64]bool, to int64, outOfOrder bool) ([]*File, error) {
	if err := f.Covers(book); err != nil {
		return nil, err
	}
	var todo []*File
	var late []string
	newest := Newest(book)
	for _, m := range f.List {
		if m.Version > to || book[m.Version] {
			continue
		}
		if m.Version < newest {
			late = append(late, m.Base())
		}
		todo = append(todo, m)
	}
	if len(late) > 0 && !outOfOrder {
		e := refuse("give it a newer number, or apply it with --out-of-order", "%s would run after version %d, which is applied already", strings.Join(late, ", "), newest)
		e.Code = "out_of_order"
		return nil, e
	}
	return todo, nil
}

// Below lists what is to be undone, newest first.
func (f *Set) Below(book map[int64]bool, to int64) ([]*File, error) {
	if err := f.Covers(book); err != nil {
		return nil, err
	}
	var todo []*File
	for _, m := range slices.Backward(f.List) {
		if m.Version <= to || !book[m.Version] {
			continue
		}
		if len(m.Down.Statements) == 0 {
			e := refuse("write the statements that undo it below '-- +goose Down'", "%s has no Down", m.Base())
			e.Code = "no_down"
			return nil, e
		}
		todo = append(todo, m)
	}
	return todo, nil
}

// Covers refuses a book with versions that have no file: those of a newer checkout.
func (f *Set) Covers(book map[int64]bool) error {
	var unknown []string
	for _, v := range slices.Sorted(maps.Keys(book)) {
		if f.ByVersion[v] == nil {
			unknown = append(unknown, fmt.Sprint(v))
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	e := refuse("the files here are older than the tenant: use the newest checkout", "applied without a file here: version %s", strings.Join(unknown, ", "))
	e.Code = "unknown_version"
	return e
}

// Newest is the highest version in a book, 0 where there is none.
func Newest(book map[int64]bool) int64 {
	newest := int64(0)
	for v := range book {
		newest = max(newest, v)
	}
	return newest
}

// UpTo is the book of a tenant that has every file up to a version and no other, and the same as a list.
func (f *Set) UpTo(version int64) (book map[int64]bool, list string) {
	book = map[int64]bool{}
	var all []string
	for _, m := range f.List {
		if m.Version <= version {
			book[m.Version] = true
			all = append(all, fmt.Sprint(m.Version))
		}
	}
	return book, strings.Join(all, ",")
}
