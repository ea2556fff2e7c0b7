package cmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strings"

	"github.com/itchyny/gojq"
	"k8s.io/client-go/util/jsonpath"

	"github.com/tenantctl/tenantctl/tenant"
)

// filter writes what an expression makes of a document.
type filter func(w io.Writer, doc any) error

// endDocument prints what the filter makes of the document that was written, where there is one. Whoever writes a
// document calls it at its end.
func (a *app) endDocument() error {
	if a.filter == nil {
		return nil
	}
	d := json.NewDecoder(strings.NewReader(a.out.taken()))
	d.UseNumber()
	var doc any
	if err := d.Decode(&doc); err != nil {
		return fmt.Errorf("read the result: %w", err)
	}
	a.out.forPeople(isTerminal(a.out))
	err := a.filter(a.out, plainNumbers(doc))
	a.out.holds(true) // the next one
	return err
}

// jqFilter compiles an expression as jq has them. Strings are printed raw, all else as JSON, one to a line.
func jqFilter(expr string) (filter, error) {
	const manual = "the language is jq's: https://jqlang.org/manual"
	query, err := gojq.Parse(expr)
	if err != nil {
		return nil, tenant.Invalid(manual, "invalid --jq expression: %s", err)
	}
	code, err := gojq.Compile(query)
	if err != nil {
		return nil, tenant.Invalid(manual, "invalid --jq expression: %s", err)
	}
	return func(w io.Writer, doc any) error {
		results := code.Run(doc)
		for {
			v, more := results.Next()
			if !more {
				return nil
			}
			if err, failed := v.(error); failed {
				var halt *gojq.HaltError
				if errors.As(err, &halt) && halt.Value() == nil {
					return nil
				}
				return &tenant.Error{Msg: "apply --jq: " + err.Error(), Hint: "-o json shows what it works on"}
			}
			line, isText := v.(string)
			if !isText {
				b, err := gojq.Marshal(v)
				if err != nil {
					return fmt.Errorf("write the result: %w", err)
				}
				line = string(b)
			}
			if _, err := fmt.Fprintln(w, line); err != nil {
				return writing(err)
			}
		}
	}, nil
}

// jsonPath compiles an expression as kubectl has them, with or without the braces.
func jsonPath(expr string) (filter, error) {
	if strings.TrimSpace(expr) == "" {
		return nil, tenant.Invalid("such as -o jsonpath='{.name}'", "jsonpath= without an expression")
	}
	if !strings.Contains(expr, "{") {
		if !strings.HasPrefix(expr, "$") && !strings.HasPrefix(expr, ".") && !strings.HasPrefix(expr, "[") {
			expr = "." + expr
		}
		expr = "{" + expr + "}"
	}
	path := jsonpath.New("output").AllowMissingKeys(true)
	if err := path.Parse(expr); err != nil {
		return nil, tenant.Invalid("the language is kubectl's: https://kubernetes.io/docs/reference/kubectl/jsonpath", "invalid jsonpath: %s", err)
	}
	return func(w io.Writer, doc any) error {
		var out strings.Builder
		if err := path.Execute(&out, doc); err != nil {
			return &tenant.Error{Msg: "apply jsonpath: " + err.Error(), Hint: "-o json shows what it works on"}
		}
		_, err := io.WriteString(w, out.String())
		return writing(err)
	}, nil
}

// plainNumbers gives numbers the types that expressions calculate with; whole ones stay exact, however large.
func plainNumbers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			v[k] = plainNumbers(x)
		}
	case []any:
		for i, x := range v {
			v[i] = plainNumbers(x)
		}
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return int(n)
		}
		if n, ok := new(big.Int).SetString(v.String(), 10); ok {
			return n
		}
		n, err := v.Float64()
		if err != nil {
			return v.String()
		}
		return n
	}
	return v
}
