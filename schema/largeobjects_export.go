package schema

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tenantctl/tenantctl/tenant"
)

// objectsFolder holds the large objects of an export, each in a file that its number names.
const objectsFolder = "large_objects"

// exportObjects writes a tenant's large objects, a file for each, and gives the entry of the folder in the data dictionary.
func (r *Resource) exportObjects(ctx context.Context, pg *pgconn.PgConn, t tenant.Tenant, create func(name string) (io.WriteCloser, error)) ([]tenant.Exported, error) {
	columns, err := r.objectColumns(ctx, pg, t)
	if err != nil || len(columns) == 0 {
		return nil, err
	}
	f := &objectFiles{create: create, open: map[uint32]io.WriteCloser{}}
	defer f.told()
	o := objectReader{r: r, pg: pg, t: t, columns: columns, to: f}
	if err := o.run(ctx); err != nil || f.written == 0 {
		return nil, err
	}
	return []tenant.Exported{{
		Store: tenant.KindPostgres, Name: objectsName, File: objectsFolder, Rows: f.written,
		Comment: "a folder with a file for each large object, which its number names: columns that refer to it hold that number",
		Fields:  []tenant.ExportedField{},
	}}, nil
}

// objectFiles writes a file for each large object.
type objectFiles struct {
	create  func(name string) (io.WriteCloser, error)
	open    map[uint32]io.WriteCloser
	written int64
}

func (f *objectFiles) object(said objectSaid) error {
	file, err := f.create(fmt.Sprintf("%s/%d", objectsFolder, said.Number))
	if err != nil {
		return err
	}
	f.open[said.Number] = file
	f.written++
	return nil
}

func (f *objectFiles) piece(number uint32, _ int64, _, raw []byte) error {
	_, err := f.open[number].Write(raw)
	return err
}

func (f *objectFiles) told() (err error) {
	for _, file := range f.open {
		err = errors.Join(err, file.Close())
	}
	clear(f.open)
	return err
}
