package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/securethecloud/kms-baseline/verify/check"
	"github.com/securethecloud/kms-baseline/verify/report"
)

// listed is a check in `verify list -o json`.
type listed struct {
	ID        string           `json:"id"`
	Severity  string           `json:"severity"`
	Title     string           `json:"title"`
	Why       string           `json:"why"`
	Expected  string           `json:"expected"`
	Proves    string           `json:"proves"`
	NotProven string           `json:"notProven,omitempty"`
	Remedy    string           `json:"remedy"`
	Needs     []string         `json:"needs"`
	Controls  []report.Control `json:"controls"`
	// AccountWide marks a check that a run has only with --account-wide.
	AccountWide bool `json:"accountWide,omitempty"`
	// FilesOnly marks a check that a run has only with --events s3://..., or if --only names it
	FilesOnly bool `json:"filesOnly,omitempty"`
}

func newList(o *options) *cobra.Command {
	format := "table"
	c := &cobra.Command{
		Use:     "list",
		Short:   "List every check with the controls that it is evidence for",
		Example: "  verify list\n  verify list -o json",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			switch format {
			case "table":
				return o.listTable()
			case "json":
				return o.listJSON()
			}
			return fmt.Errorf("--output %s is not a format: use table or json", format)
		},
	}
	c.Flags().StringVarP(&format, "output", "o", format, "table or json")
	return c
}

func (o *options) listTable() error {
	var b strings.Builder
	for _, c := range check.Catalogue {
		title := c.Title
		if c.AccountWide {
			title += " (--account-wide)"
		}
		if c.FilesOnly {
			title += " (--events s3://...)"
		}
		fmt.Fprintf(&b, "%-21s %-9s %s\n", c.ID, c.Severity, title)
		line := ""
		for _, x := range check.Controls(c.ID, true) {
			item := strings.Replace(x.Framework, "AWS Foundations ", "", 1) + " " + x.ID
			if len(line)+len(item) > 66 {
				fmt.Fprintf(&b, "%31s %s\n", "", line)
				line = ""
			}
			if line != "" {
				line += ", "
			}
			line += item
		}
		if line != "" {
			fmt.Fprintf(&b, "%31s %s\n", "", line)
		}
	}
	_, err := fmt.Fprint(o.stdout, b.String())
	return err
}

func (o *options) listJSON() error {
	list := []listed{}
	for _, c := range check.Catalogue {
		l := listed{c.ID, c.Severity, c.Title, c.Why, c.Expected, c.Proves, c.NotProven, c.Remedy, []string{}, check.Controls(c.ID, false), c.AccountWide, c.FilesOnly}
		for _, p := range c.Needs {
			l.Needs = append(l.Needs, p.Action)
		}
		if l.Controls == nil {
			l.Controls = []report.Control{}
		}
		list = append(list, l)
	}
	e := json.NewEncoder(o.stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(list)
}
