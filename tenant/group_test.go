package tenant_test

import (
	"bytes"
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tenantctl/tenantctl/tenant"
)

// A panic in a goroutine that a store has started, however deep, is that of the goroutine which works on the operation: it is
// logged with its place, and the operation can be resumed.
func TestAPanicInAGoroutineOfAStoreLeavesTheOperationToResume(t *testing.T) {
	w := newWorld(t)
	w.create("acme")
	faulty := true
	w.docs.before = func(ctx context.Context, call string, _ tenant.Tenant) error {
		if !faulty || call != "Lock" {
			return nil
		}
		outer, ctx := tenant.NewGroup(ctx)
		outer.Go(func() error {
			inner, _ := tenant.NewGroup(ctx)
			inner.Go(func() error { return errors.New("the server is away") })
			inner.Go(func() error { panic("index out of range") })
			return inner.Wait()
		})
		outer.Go(func() error {
			<-ctx.Done() // the others are told
			return nil
		})
		return outer.Wait()
	}
	var log bytes.Buffer
	o := tenant.Options{Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	s := tenant.NewService(w.catalog, []tenant.Resource{w.pg, w.docs}, o)
	defer s.Close()
	_, err := s.Suspend(t.Context(), "acme")
	var e *tenant.Error
	if !errors.As(err, &e) || !errors.Is(err, tenant.ErrStuck) || e.Code != "panic" || !strings.Contains(e.Msg, "index out of range") {
		t.Fatalf("%v", err)
	}
	if said := log.String(); !strings.Contains(said, "a fault of this program") || !strings.Contains(said, "group_test.go") {
		t.Errorf("the log does not say where it was:\n%s", said)
	}
	faulty = false
	ops := w.unfinished()
	if len(ops) != 1 || !ops[0].Interrupted {
		t.Fatalf("unfinished: %v", ops)
	}
	if _, err := w.service.ResumeOperation(t.Context(), ops[0].ID.String()); err != nil || w.state("acme") != tenant.Suspended {
		t.Errorf("resumed: %v, %s", err, w.state("acme"))
	}
}

// A panic in a bare goroutine ends the process without a word of what it was at work on.
func TestStoresStartGoroutinesInGroupsAlone(t *testing.T) {
	files := 0
	for _, dir := range []string{"schema", "nosql", "archive", "legacy"} {
		names, err := filepath.Glob(filepath.Join("..", dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			files++
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, name, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if bare := bareGoroutine(n); bare != "" {
					t.Errorf("%s: %s: start it in a tenant.Group", set.Position(n.Pos()), bare)
				}
				return true
			})
		}
	}
	if files < 100 {
		t.Errorf("%d files were read only", files)
	}
}

// bareGoroutine tells of what starts a goroutine whose panic nobody recovers.
func bareGoroutine(n ast.Node) string {
	switch n := n.(type) {
	case *ast.GoStmt:
		return "a go statement"
	case *ast.ImportSpec:
		if n.Path.Value == `"golang.org/x/sync/errgroup"` {
			return "errgroup"
		}
	case *ast.SelectorExpr:
		if x, ok := n.X.(*ast.Ident); ok && x.Name == "sync" && n.Sel.Name == "WaitGroup" {
			return "sync.WaitGroup"
		}
	}
	return ""
}
