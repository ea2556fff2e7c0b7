package nosql

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/tenantctl/tenantctl/tenant"
)

// Load claims the database for t, with a user where o.MakeRole asks for one, and fills it from the parts of a dump. A
// folder that mongodump itself wrote is taken as well, where each definition comes before its rows. Indexes and our
// progress come last, so that a database that is half loaded never looks whole. The catalog is not told of the version.
func (r *Resource) Load(ctx context.Context, t tenant.Tenant, o tenant.LoadOptions) (tenant.PartLoader, error) {
	withUser := o.Role != "" && o.MakeRole
	if withUser {
		t.Role = o.Role
	}
	keeps, err := r.settle(ctx, t, withUser, "mongodb/restored")
	if err != nil {
		return nil, err
	}
	if withUser && keeps {
		o.Log(fmt.Sprintf("user %q of MongoDB has a new password, which nobody knows: tenantctl credentials %s --rotate gives one", t.Role, t.Name))
	}
	for _, note := range o.Dumped.Notes {
		if strings.Contains(note, shardAgain) {
			o.Log(strings.Replace(note, "DATABASE", t.Database, 1))
		}
	}
	l := &loading{r: r, t: t, o: o, slots: make(chan struct{}, max(o.Parallel, 1)), byStem: map[string]*loaded{}}
	l.stopped, l.stop = context.WithCancel(context.WithoutCancel(ctx))
	l.work, _ = tenant.NewGroup(l.stopped)
	return l, nil
}

// loading is a database being filled. Its methods are called by one goroutine.
type loading struct {
	r     *Resource
	t     tenant.Tenant
	o     tenant.LoadOptions
	slots chan struct{}

	all      []*loaded
	byStem   map[string]*loaded // by the name of the file that holds the rows
	progress bson.Raw           // nil where there is none

	converted bool // some indexes are not built as they were dumped, for no server takes them so

	stopped context.Context // ends by Stop
	stop    context.CancelFunc
	work    *tenant.Group
}

// loaded is a collection that was made.
type loaded struct {
	definition
	filled bool // its rows came
}

// Part takes a part below "mongodb/": definitions and rows. What mongodump writes beside them is not wanted.
func (l *loading) Part(ctx context.Context, p tenant.Part) (io.WriteCloser, error) {
	file, below := strings.CutPrefix(p.Path, partFolder)
	if !below || file == "" || strings.Contains(file, "/") {
		return nil, partRefused(p.Path, "is none of MongoDB's")
	}
	ctx, cancel := l.during(ctx)
	if stem, ok := strings.CutSuffix(file, definitionSuffix); ok {
		return &definitionPart{l: l, ctx: ctx, done: cancel, path: p.Path, stem: stem}, nil
	}
	stem, ok := strings.CutSuffix(file, rowsSuffix)
	c := l.byStem[stem]
	switch {
	case file == "prelude.json", ok && c == nil && systemOnly(strings.Replace(stem, "%24", "$", 1)) && !strings.HasPrefix(stem, bucketPrefix):
		cancel()
		return nil, nil
	case !ok:
		cancel()
		return nil, partRefused(p.Path, "is neither a definition (%s) nor rows (%s)", definitionSuffix, rowsSuffix)
	case c == nil:
		cancel()
		return nil, partRefused(p.Path, "comes without its definition before it")
	case c.Type == typeView:
		cancel()
		return nil, partRefused(p.Path, "holds rows of the view %s", c.Name)
	case c.filled:
		cancel()
		return nil, partRefused(p.Path, "comes twice")
	}
	c.filled = true
	if l.o.Names != nil && !isBook(c.Name) && !slices.Contains(l.o.Names, c.Name) {
		cancel()
		return nil, nil
	}
	if c.Type == typeTimeseries {
		var err error
		if c.bucketless, err = l.r.bucketless(ctx, l.t, c.Name); err != nil {
			cancel()
			return nil, err
		}
	}
	f := &filling{r: l.r, t: l.t, collection: c.rows(), raw: c.bucketless, slots: l.slots, work: l.work}
	rows := &rowsPart{l: l, ctx: ctx, done: cancel, part: p, filling: f}
	rows.framer = framer{part: p.Path, take: func(doc bson.Raw) error { return f.add(ctx, doc) }}
	if c.Name == ownCollection {
		rows.take = func(doc bson.Raw) error {
			f.tally.add(doc)
			return l.own(p.Path, doc)
		}
	}
	return rows, nil
}

// during is ctx, ended by Stop as well.
func (l *loading) during(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	without := context.AfterFunc(l.stopped, cancel)
	return ctx, func() {
		without()
		cancel()
	}
}

// own keeps the progress of the migrations. Whose the database was is of no interest: it is marked already.
func (l *loading) own(part string, doc bson.Raw) error {
	switch id, _ := doc.Lookup("_id").StringValueOK(); id {
	case progressID:
		var p progress
		if err := bson.Unmarshal(doc, &p); err != nil {
			return partRefused(part, "the document progress is not readable")
		}
		l.progress = bytes.Clone(doc)
	case ownerID:
	default:
		return partRefused(part, "the document %q is not known", id)
	}
	return nil
}

// definitionPart gathers a metadata file, whole.
type definitionPart struct {
	l    *loading
	ctx  context.Context // io.WriteCloser takes none
	done context.CancelFunc
	path string
	stem string
	text []byte
}

func (p *definitionPart) Write(b []byte) (int, error) {
	if len(p.text)+len(b) > maxDefinition {
		return 0, partRefused(p.path, "is larger than 16 MiB")
	}
	p.text = append(p.text, b...)
	return len(b), nil
}

// Close makes the collection.
func (p *definitionPart) Close() error {
	defer p.done()
	l := p.l
	d, err := decodeDefinition(p.text, p.stem)
	if err != nil {
		return partRefused(p.path, "is no definition of a collection: %s", innermost(err))
	}
	if systemOnly(d.Name) || d.Name == lockCollection {
		l.o.Log(fmt.Sprintf("collection %s is left out: it is the server's or golang-migrate's own", d.Name))
		return nil
	}
	d, notes := modern(d)
	for _, note := range notes {
		l.converted = true
		l.o.Log(note)
	}
	c := &loaded{definition: d}
	for _, o := range l.all {
		if o.Name == d.Name {
			return partRefused(p.path, "defines collection %s a second time", d.Name)
		}
	}
	l.all = append(l.all, c)
	stem := p.stem
	if d.Type == typeTimeseries {
		l.byStem[bucketPrefix+stem] = c
		l.byStem[fileStem(d.rows())] = c // where the name was cut
	}
	l.byStem[stem] = c // of a time series where MongoDB 8.3 or newer was dumped
	if d.Name == ownCollection {
		return nil // made with the mark
	}
	if problem := d.forged(); problem != "" {
		return &tenant.Error{
			Kind: tenant.ErrDiffers, Code: "forged", Store: tenant.KindMongoDB, Msg: fmt.Sprintf("part %s: the definition of %q is refused: %s", p.path, d.Name, problem),
			Hint: "no dump writes it: restore another backup, and look who can write to the place of backups",
		}
	}
	if err := l.r.createDefinition(p.ctx, l.t, d); err != nil {
		return err
	}
	return tenant.Checkpoint(p.ctx, "mongodb/restored-definition")
}

// rowsPart loads the documents of one collection.
type rowsPart struct {
	framer
	l       *loading
	ctx     context.Context // io.WriteCloser takes none
	done    context.CancelFunc
	part    tenant.Part
	filling *filling
}

// Close returns once all rows are there.
func (p *rowsPart) Close() error {
	defer p.done()
	if err := p.end(); err != nil {
		return err
	}
	if err := p.filling.end(p.ctx); err != nil {
		return err
	}
	n := p.filling.tally
	if sum, err := strconv.ParseUint(p.part.Sum, 16, 64); p.part.Sum != "" && (err != nil || sum != n.sum || p.part.Rows != n.rows) {
		return refused(tenant.ErrDiffers, "use another backup", "part %s holds %d rows with the sum %016x, not %d with %s", p.part.Path, n.rows, n.sum, p.part.Rows, p.part.Sum)
	}
	return tenant.Checkpoint(p.ctx, "mongodb/restored-rows")
}

// Finish builds the indexes, puts the progress in place, and compares the structure with the one that was dumped.
func (l *loading) Finish(ctx context.Context) error {
	ctx, cancel := l.during(ctx)
	defer cancel()
	for _, name := range l.o.Names {
		if !slices.ContainsFunc(l.all, func(c *loaded) bool { return c.Name == name && c.Type != typeView }) {
			return refused(tenant.ErrInvalid, "tenantctl backup show lists what it has", "the backup holds no collection %q", name)
		}
	}
	builders, bctx := tenant.NewGroup(ctx)
	builders.SetLimit(cap(l.slots))
	for _, c := range l.all {
		builders.Go(func() error { return l.r.buildIndexes(bctx, l.t, c.definition) })
	}
	if err := builders.Wait(); err != nil {
		return err
	}
	if err := tenant.Checkpoint(ctx, "mongodb/restored-indexes"); err != nil {
		return err
	}
	dumped := l.o.Dumped
	if l.converted && dumped.Fingerprint != "" {
		all := make([]definition, len(l.all))
		for i, c := range l.all {
			all[i] = c.definition
		}
		dumped.Fingerprint = structure(all)
	}
	if err := l.r.prove(ctx, l.t, dumped, l.o.Log); err != nil {
		return err
	}
	if l.progress != nil {
		if err := l.r.putProgress(ctx, l.t, l.progress); err != nil {
			return err
		}
	}
	return tenant.Checkpoint(ctx, "mongodb/restored-progress")
}

// prove compares what the server made of the definitions with what was dumped. Another kind of server may describe the
// same collection in another way, which is told and no error.
func (r *Resource) prove(ctx context.Context, t tenant.Tenant, d tenant.Dumped, log func(string)) error {
	defs, _, err := r.definitions(ctx, t)
	if err != nil || d.Fingerprint == "" || structure(defs) == d.Fingerprint {
		return err
	}
	here, err := r.serverName(ctx)
	if err != nil {
		return err
	}
	if here != d.Server {
		log(fmt.Sprintf("%s describes the collections in another way than %s did: compare their options and indexes", here, d.Server))
		return nil
	}
	return refused(tenant.ErrDiffers, "compare the definitions of the backup with the database that was loaded", "the collections and indexes of database %q are not those that were dumped", t.Database)
}

// putProgress writes the progress of the migrations as it was read, for a database that has none.
func (r *Resource) putProgress(ctx context.Context, t tenant.Tenant, doc bson.Raw) error {
	return failure("write the progress of the migration", write(ctx, func(ctx context.Context) error {
		_, err := r.own(t).InsertOne(ctx, doc)
		return err
	}))
}

// Stop ends all work; what is on its way to the server is waited for.
func (l *loading) Stop() {
	l.stop()
	_ = l.work.Wait() // its batches have told of errors
}
