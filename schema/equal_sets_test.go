package schema

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// fileSet is migration files in their order. testdata/goose has a set for each kind of thing that files do.
type fileSet struct {
	name    string
	files   []setFile
	refused []string // why tenantctl may refuse what goose takes: codes of errors
}

type setFile struct{ title, content string }

// titles name the set's files, for a person who looks for what is wrong with them.
func (s fileSet) titles() string {
	var all []string
	for _, f := range s.files {
		all = append(all, f.title)
	}
	return strings.Join(all, ", ")
}

// without is the set with one file less.
func (s fileSet) without(i int) fileSet {
	s.files = slices.Delete(slices.Clone(s.files), i, i+1)
	return s
}

// mirrored is the set whose files do on the way down, from the last to the first, what those of this one do on the way up.
func (s fileSet) mirrored() (mirror fileSet, ok bool) {
	mirror = s
	mirror.files = nil
	for _, f := range slices.Backward(s.files) {
		header := regexp.MustCompile(`(?m)^-- \+goose Up(\r?\n)`)
		if strings.Contains(f.content, "+goose Down") || !header.MatchString(f.content) {
			return mirror, false
		}
		f.content = header.ReplaceAllString(f.content, "-- +goose Up${1}SELECT 1;${1}-- +goose Down${1}")
		mirror.files = append(mirror.files, f)
	}
	return mirror, true
}

// write makes a folder of the set. role is one that files may work as.
func (s fileSet) write(t testing.TB, role string) string {
	t.Helper()
	files := map[string]string{}
	for i, f := range s.files {
		files[fmt.Sprintf("%05d_%s.sql", i+1, f.title)] = strings.ReplaceAll(f.content, "{role}", role)
	}
	return folder(t, files)
}

// corpus are the sets in testdata/goose and the folders that the project shows as examples.
func corpus(t testing.TB) []fileSet {
	t.Helper()
	paths, err := filepath.Glob("testdata/goose/*.txtar")
	must(t, err)
	var all []fileSet
	for _, path := range paths {
		archive, err := txtar.ParseFile(path)
		must(t, err)
		s := fileSet{name: strings.TrimSuffix(filepath.Base(path), ".txtar")}
		for _, f := range archive.Files {
			s.files = append(s.files, setFile{strings.TrimSuffix(f.Name, ".sql"), string(f.Data)})
		}
		if _, codes, found := strings.Cut(string(archive.Comment), "refused: "); found {
			s.refused = strings.Fields(codes)
		}
		all = append(all, s)
	}
	for _, dir := range []string{example} {
		paths, err := filepath.Glob(filepath.Join(dir, "*.sql"))
		must(t, err)
		s := fileSet{name: dir}
		for _, path := range paths {
			content, err := os.ReadFile(path)
			must(t, err)
			_, title, _ := strings.Cut(strings.TrimSuffix(filepath.Base(path), ".sql"), "_")
			s.files = append(s.files, setFile{title, string(content)})
		}
		all = append(all, s)
	}
	return all
}

// generated are n sets made of the corpus: two or three kinds among each other, with files left out, run twice, joined,
// taken out of their transaction, sent as one message, and with other line ends. Some of them fail, for both.
func generated(from []fileSet, n int, rng *rand.Rand) []fileSet {
	var all []fileSet
	for i := range n {
		s := fileSet{name: fmt.Sprintf("generated %d", i+1), refused: []string{"no-transaction", "unfinished"}}
		for _, k := range rng.Perm(len(from))[:2+rng.IntN(2)] {
			s.name += ", " + from[k].name
			s.refused = append(s.refused, from[k].refused...)
			s.files = interleaved(s.files, altered(from[k].files, rng), rng)
		}
		if rng.IntN(6) == 0 {
			for i := range s.files {
				s.files[i].content = strings.ReplaceAll(s.files[i].content, "\n", "\r\n")
			}
		}
		all = append(all, s)
	}
	return all
}

// interleaved puts two lists together; each keeps its order.
func interleaved(a, b []setFile, rng *rand.Rand) []setFile {
	var all []setFile
	for len(a) > 0 || len(b) > 0 {
		if len(b) == 0 || len(a) > 0 && rng.IntN(len(a)+len(b)) < len(a) {
			all, a = append(all, a[0]), a[1:]
		} else {
			all, b = append(all, b[0]), b[1:]
		}
	}
	return all
}

const upHeader = "-- +goose Up\n"

// altered are files with a few changes of the kinds that generated names.
func altered(files []setFile, rng *rand.Rand) []setFile {
	var all []setFile
	for i, f := range files {
		plain := strings.HasPrefix(f.content, upHeader) && !strings.Contains(f.content, "+goose Down") && !strings.Contains(f.content, "ENVSUB")
		switch rng.IntN(24) {
		case 0:
			if i > 0 {
				continue
			}
		case 1:
			all = append(all, f)
		case 2:
			f.content = "-- +goose NO TRANSACTION\n" + f.content
		case 3, 4:
			if plain {
				f.content = asOneMessage(f.content)
			}
		case 5, 6:
			if before := len(all) - 1; plain && before >= 0 && strings.HasPrefix(all[before].content, upHeader) {
				all[before].title += "_" + f.title
				all[before].content += strings.TrimPrefix(f.content, upHeader)
				continue
			}
		}
		all = append(all, f)
	}
	return all
}

// asOneMessage puts all statements of a file into one block.
func asOneMessage(content string) string {
	body := strings.NewReplacer("-- +goose StatementBegin\n", "", "-- +goose StatementEnd\n", "").Replace(strings.TrimPrefix(content, upHeader))
	if strings.Contains(body, "$$;") || !strings.Contains(content, "StatementBegin") {
		return upHeader + "-- +goose StatementBegin\n" + body + "-- +goose StatementEnd\n"
	}
	return content // a routine's last line may have no semicolon
}
