package cmd

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"github.com/tenantctl/tenantctl/config"
	"github.com/tenantctl/tenantctl/tenant"
)

// check refuses a report that could not be written, before the run.
func (f *runFlags) check() error {
	if f.report == "" {
		return nil
	}
	dir := filepath.Dir(f.report)
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		return tenant.Invalid("make the folder first", "cannot write the report: there is no folder %s", dir)
	}
	return nil
}

// write writes the report, beside and then in place of an older one.
func (f *runFlags) write(ctx context.Context, s *tenant.Service, r *tenant.RunResult, t config.Target) error {
	if f.report == "" {
		return nil
	}
	tmp, err := os.CreateTemp(filepath.Dir(f.report), ".report-*")
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	parts := s.Operations(context.WithoutCancel(ctx), tenant.OperationFilter{Run: r.Run})
	if strings.HasSuffix(f.report, ".xml") {
		err = writeJUnit(tmp, r, parts, t)
	} else {
		err = writeJSON(tmp, r, parts, t)
	}
	if err == nil {
		err = tmp.Chmod(0o644)
	}
	if err == nil {
		err = tmp.Close()
	}
	if err == nil {
		err = os.Rename(tmp.Name(), f.report)
	}
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

// writeJSON is the run as printed, with one entry per tenant that had work to do.
func writeJSON(w *os.File, r *tenant.RunResult, parts iter.Seq2[*tenant.Operation, error], t config.Target) error {
	head, err := withEnvironment(r, t)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "%s,\"tenants\":[", head[:len(head)-1]); err != nil {
		return err
	}
	sep := ""
	for op, err := range parts {
		if err != nil {
			return err
		}
		b, err := json.Marshal(op)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "%s\n%s", sep, b); err != nil {
			return err
		}
		sep = ","
	}
	_, err = fmt.Fprintln(w, "]}")
	return err
}

type junitCase struct {
	XMLName xml.Name    `xml:"testcase"`
	Name    string      `xml:"name,attr"`
	Class   string      `xml:"classname,attr"`
	Time    float64     `xml:"time,attr"`
	Failure *junitFault `xml:"failure,omitempty"`
	Skipped *struct{}   `xml:"skipped,omitempty"`
}

type junitFault struct {
	Type    string `xml:"type,attr"`
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

type junitProperties struct {
	XMLName xml.Name        `xml:"properties"`
	List    []junitProperty `xml:"property"`
}

type junitProperty struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

// propertiesOf says what the run worked on.
func propertiesOf(t config.Target) junitProperties {
	return junitProperties{List: []junitProperty{
		{"environment", t.Environment}, {"context", t.Context}, {"postgres", t.Postgres}, {"mongodb", t.MongoDB},
	}}
}

// writeJUnit is one test case per tenant that had work to do.
func writeJUnit(w *os.File, r *tenant.RunResult, parts iter.Seq2[*tenant.Operation, error], t config.Target) error {
	cases := r.Summary.Tenants - r.Summary.Unchanged
	if _, err := fmt.Fprintf(w, "%s<testsuite name=\"tenantctl\" tests=\"%d\" failures=\"%d\" skipped=\"%d\" time=\"%.3f\">\n",
		xml.Header, cases, r.Summary.Failed, r.Summary.NotStarted, float64(r.DurationMS)/1000); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("  ", "  ")
	if err := e.Encode(propertiesOf(t)); err != nil {
		return err
	}
	for _, p := range r.Refused {
		c := junitCase{Name: string(p.Name), Class: tenant.OpAdopt, Failure: &junitFault{Type: p.Error.Code, Message: p.Error.Message}}
		if err := e.Encode(c); err != nil {
			return err
		}
	}
	for op, err := range parts {
		if err != nil {
			return err
		}
		c := junitCase{Name: string(op.Tenant), Class: op.Kind, Time: op.Duration().Seconds()}
		switch {
		case op.Error != nil:
			c.Failure = &junitFault{Type: op.Error.Code, Message: op.Error.Message, Text: op.Error.Statement}
		case op.State != tenant.OpDone:
			c.Skipped = &struct{}{}
		}
		if err := e.Encode(c); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(w, "\n</testsuite>")
	return err
}
