package legacy

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/tenantctl/tenantctl/tenant"
)

// fileSource reads CSV and NDJSON files below a folder. A table of it is a file, a folder or a glob; each file is a part.
type fileSource struct {
	root      string
	delimiter byte
	uuid      string
	null      string // what stands for NULL, without quotes

	mu      sync.Mutex
	stamps  map[string]string   // of the files as they were at begin
	headers map[string][]string // of CSV files
}

// openFiles opens the folder of a source's files; dir is the mapping's own.
func openFiles(spec *SourceSpec, dir string) (source, error) {
	s := &fileSource{root: spec.Path, uuid: spec.UUID, delimiter: ',', headers: map[string][]string{}}
	if !filepath.IsAbs(s.root) {
		s.root = filepath.Join(dir, s.root)
	}
	if spec.Delimiter != "" {
		if s.delimiter = spec.Delimiter[0]; len(spec.Delimiter) > 1 || strings.ContainsRune("\"\r\n", rune(s.delimiter)) {
			return nil, tenant.Invalid("use a comma, a semicolon, a tab or the like", "delimiter %q cannot separate CSV fields", spec.Delimiter)
		}
	}
	if spec.Null != nil {
		s.null = *spec.Null
	}
	info, err := os.Stat(s.root)
	if err != nil {
		return nil, fileError("open folder "+spec.Path, err)
	}
	if !info.IsDir() {
		return nil, tenant.Invalid("name its folder in path, and the file in from", "%s is not a folder", spec.Path)
	}
	return s, nil
}

// fileError says what could not be done with a file.
func fileError(verb string, err error) error {
	if err == nil {
		return nil
	}
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	e := &tenant.Error{Msg: fmt.Sprintf("%s: %v", verb, err), Err: err}
	if errors.Is(err, fs.ErrNotExist) {
		e.Kind = tenant.ErrNotFound
	}
	return e
}

func (s *fileSource) close() {}
func (s *fileSource) end()   {}

// begin notes what the files are like now.
func (s *fileSource) begin(context.Context) (string, error) {
	all, err := s.files(".")
	if err != nil {
		return "", err
	}
	stamps := map[string]string{}
	for _, f := range all {
		if stamps[f], err = s.stamp(f); err != nil {
			return "", err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stamps = stamps
	return "files have no snapshot; one whose size or time changes while it is read ends the import", nil
}

// stamp is a file's size and time of modification.
func (s *fileSource) stamp(file string) (string, error) {
	info, err := os.Stat(filepath.Join(s.root, file))
	if err != nil {
		return "", fileError("look at "+file, err)
	}
	return fmt.Sprintf("%d %s", info.Size(), info.ModTime().UTC().Format(time.RFC3339Nano)), nil
}

// format tells what is in a file by its name.
func format(file string) (csv, ok bool) {
	switch base := strings.TrimSuffix(strings.TrimSuffix(strings.ToLower(file), ".gz"), ".zst"); path.Ext(base) {
	case ".csv":
		return true, true
	case ".ndjson", ".jsonl":
		return false, true
	}
	return false, false
}

// files gives the files that a table's name stands for, relative to the root, in order.
func (s *fileSource) files(name string) ([]string, error) {
	root := os.DirFS(s.root)
	name = path.Clean(filepath.ToSlash(name))
	if !fs.ValidPath(name) {
		return nil, tenant.Invalid("name a file, a folder or a glob below the source's path", "%s is outside of the source's folder", name)
	}
	found := []string{name}
	if info, err := fs.Stat(root, name); err == nil && info.IsDir() {
		found = nil
		err := fs.WalkDir(root, name, func(p string, d fs.DirEntry, err error) error {
			if _, ok := format(p); ok && err == nil && !d.IsDir() {
				found = append(found, p)
			}
			return err
		})
		if err != nil {
			return nil, fileError("look through "+name, err)
		}
		if len(found) == 0 && name != "." {
			return nil, &tenant.Error{Kind: tenant.ErrNotFound, Msg: "no file in " + name + " is CSV (.csv) or NDJSON (.ndjson, .jsonl)"}
		}
	} else if err != nil {
		if found, err = fs.Glob(root, name); err != nil {
			return nil, tenant.Invalid("see path.Match of Go for the rules", "glob %s is malformed", name)
		}
		if len(found) == 0 {
			return nil, &tenant.Error{Kind: tenant.ErrNotFound, Msg: "no file " + name + " in the source's folder"}
		}
	}
	for _, f := range found {
		if _, ok := format(f); !ok {
			return nil, tenant.Invalid("name it so, followed by .gz or .zst where it is compressed", "file %s is neither CSV (.csv) nor NDJSON (.ndjson, .jsonl)", f)
		}
	}
	slices.Sort(found)
	return found, nil
}

// counter counts what is read through it.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// open gives a file's content, decompressed and without its byte order mark, and a count of the bytes of the file itself.
func (s *fileSource) open(file string) (content io.Reader, read *counter, closeFile func(), err error) {
	f, err := os.Open(filepath.Join(s.root, file))
	if err != nil {
		return nil, nil, nil, fileError("open "+file, err)
	}
	closeFile = func() { _ = f.Close() } // it was only read: nothing can be lost
	read = &counter{r: f}
	content = read
	switch strings.ToLower(path.Ext(file)) {
	case ".gz":
		content, err = gzip.NewReader(read)
	case ".zst":
		var d *zstd.Decoder
		if d, err = zstd.NewReader(read, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(128<<20)); err == nil {
			content = d
			closeFile = func() { d.Close(); _ = f.Close() } // as above
		}
	}
	if err == nil {
		content, err = withoutMark(content)
	}
	if err != nil {
		closeFile()
		return nil, nil, nil, fileError("read "+file, err)
	}
	return content, read, closeFile, nil
}

func withoutMark(r io.Reader) (io.Reader, error) {
	head := make([]byte, 3)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	head = head[:n]
	if bytes.HasPrefix(head, []byte{0xff, 0xfe}) || bytes.HasPrefix(head, []byte{0xfe, 0xff}) {
		return nil, errors.New("it is UTF-16: convert it to UTF-8")
	}
	return io.MultiReader(bytes.NewReader(bytes.TrimPrefix(head, []byte("\uFEFF"))), r), nil
}

// csv begins to read a CSV file: the header is taken.
func (s *fileSource) csv(file string, content io.Reader, longest int64) (*csvScanner, []string, error) {
	c := &csvScanner{window: newWindow(content, longest), delimiter: s.delimiter}
	err := c.next()
	switch {
	case errors.Is(err, io.EOF):
		return nil, nil, tenant.Invalid("write the columns' names into its first line", "file %s has no header", file)
	case err != nil:
		return nil, nil, fileError("read "+file, err)
	case c.fault != "" || c.raw == nil:
		return nil, nil, tenant.Invalid("write the columns' names into its first line", "file %s has no header: %s", file, cmp.Or(c.fault, "the first line is too long"))
	}
	header := make([]string, len(c.fields))
	for i, f := range c.fields {
		header[i] = string(c.appendValue(nil, f))
		if n := strings.IndexFunc(header[i], unicode.IsControl); n >= 0 {
			return nil, nil, tenant.Invalid("end its lines with a newline (tr '\\r' '\\n'), or give its columns other names",
				"file %s has a column %q with a control character in its name: does it end its lines with a carriage return alone?",
				file, strings.ToValidUTF8(header[i][:min(len(header[i]), 40)], ""))
		}
		if slices.Contains(header[:i], header[i]) {
			return nil, nil, tenant.Invalid("give each column its own name", "file %s has two columns %q", file, header[i])
		}
	}
	c.single = len(header) == 1
	s.mu.Lock()
	defer s.mu.Unlock()
	s.headers[file] = header
	return c, header, nil
}

// header gives the columns of a CSV file.
func (s *fileSource) header(file string) ([]string, error) {
	s.mu.Lock()
	header := s.headers[file]
	s.mu.Unlock()
	if header != nil {
		return header, nil
	}
	content, _, done, err := s.open(file)
	if err != nil {
		return nil, err
	}
	defer done()
	_, header, err = s.csv(file, content, 0)
	return header, err
}

func (s *fileSource) parts(ctx context.Context, q *query, _ int64) ([]part, error) {
	found, err := s.files(q.table.From)
	if err != nil {
		return nil, err
	}
	parts := make([]part, len(found))
	for i, f := range found {
		s.mu.Lock()
		stamp := s.stamps[f]
		s.mu.Unlock()
		if stamp == "" {
			if stamp, err = s.stamp(f); err != nil {
				return nil, err
			}
		}
		// A part's progress is of no use for a file that is another now.
		parts[i] = part{id: f + " " + stamp, low: f, high: stamp}
		sample, err := s.sample(ctx, f)
		if err != nil {
			return nil, err
		}
		parts[i].rows = sample.rows
	}
	return parts, nil
}

// resume tells files that were changed by their stamps, which are part of the ids.
func (s *fileSource) resume(ctx context.Context, q *query, before []plannedPart) ([]part, string, error) {
	now, err := s.parts(ctx, q, 0)
	if err != nil {
		return nil, "", err
	}
	for _, b := range before {
		if b.begun && !slices.ContainsFunc(now, func(p part) bool { return p.id == b.id }) {
			return nil, "file " + b.low + " is another now, or is gone", nil
		}
	}
	return now, "", nil
}

// unchanged says so where a file is not the one that a part stands for.
func (s *fileSource) unchanged(p part) error {
	now, err := s.stamp(p.low)
	if err != nil || p.high == "" || p.high == now {
		return err
	}
	return &tenant.Error{
		Kind: tenant.ErrInvalid, Msg: "file " + p.low + " changed since the import began",
		Hint: "let nobody write it, and run the same command again",
	}
}
