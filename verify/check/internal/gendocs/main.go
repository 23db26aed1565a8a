// Command gendocs writes the tables of docs/verify.md from the catalogue of
// checks and their controls. `go generate ./verify/check` runs it.
package main

import (
	"fmt"
	"log"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/securethecloud/kms-baseline/verify/check"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("gendocs: ")
	if len(os.Args) != 2 {
		log.Fatal("usage: gendocs FILE")
	}
	page, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	out, err := generate(string(page))
	if err != nil {
		log.Fatalf("%s: %v", os.Args[1], err)
	}
	if err := os.WriteFile(os.Args[1], []byte(out), 0o644); err != nil { // a page for every reader
		log.Fatal(err)
	}
}

var generated = regexp.MustCompile(`(?s)<!-- generated: (.*?) -->\n.*?<!-- end -->\n`)

// generate replaces each table of the page, which stands between
// "<!-- generated: NAME -->" and "<!-- end -->". NAME is a group of checks, or
// "controls". The page must have a table for every group.
func generate(page string) (string, error) {
	tables := map[string]string{"controls": controls()}
	for _, c := range check.Catalogue {
		if tables[c.Group] == "" {
			tables[c.Group] = group(c.Group)
		}
	}
	var unknown []string
	page = generated.ReplaceAllStringFunc(page, func(old string) string {
		name := generated.FindStringSubmatch(old)[1]
		table, ok := tables[name]
		if !ok {
			unknown = append(unknown, name)
		}
		delete(tables, name)
		return "<!-- generated: " + name + " -->\n" + table + "<!-- end -->\n"
	})
	for name := range tables {
		return "", fmt.Errorf("there is no table `<!-- generated: %s -->`, once, with `<!-- end -->` below it", name)
	}
	if len(unknown) > 0 {
		return "", fmt.Errorf("there is no group of checks %q", unknown)
	}
	return page, nil
}

func group(name string) string {
	var b strings.Builder
	b.WriteString("| check | severity | a pass proves | a pass does not prove |\n|---|---|---|---|\n")
	for _, c := range check.Catalogue {
		if c.Group == name {
			id := "`" + c.ID + "`"
			if c.AccountWide {
				id += ", with `--account-wide`"
			}
			if c.FilesOnly {
				id += ", with `--events s3://...`"
			}
			row(&b, id, c.Severity, c.Proves, c.NotProven)
		}
	}
	return b.String()
}

// controls is the table of all checks by framework.
func controls() string {
	const cis = "CIS AWS Foundations "
	var frameworks []string
	for _, c := range check.Catalogue {
		for _, x := range check.Controls(c.ID, false) {
			if !slices.Contains(frameworks, x.Framework) {
				frameworks = append(frameworks, x.Framework)
			}
		}
	}
	slices.SortFunc(frameworks, func(a, b string) int {
		if x := strings.Compare(strings.TrimPrefix(a, cis), strings.TrimPrefix(b, cis)); strings.HasPrefix(a, cis) == strings.HasPrefix(b, cis) {
			return x
		}
		if strings.HasPrefix(a, cis) {
			return -1
		}
		return 1
	})
	var b strings.Builder
	row(&b, append([]string{"check"}, frameworks...)...)
	row(&b, slices.Repeat([]string{"---"}, len(frameworks)+1)...)
	for _, c := range check.Catalogue {
		cells := []string{"`" + c.ID + "`"}
		for _, f := range frameworks {
			var ids []string
			for _, x := range check.Controls(c.ID, false) {
				if x.Framework == f {
					id := x.ID
					if x.Partial {
						id += "*"
					}
					ids = append(ids, id)
				}
			}
			cells = append(cells, strings.Join(ids, ", "))
		}
		row(&b, cells...)
	}
	return b.String()
}

func row(b *strings.Builder, cells ...string) {
	for _, c := range cells {
		b.WriteString("| ")
		if c = strings.ReplaceAll(c, "|", `\|`); c != "" {
			b.WriteString(c + " ")
		}
	}
	b.WriteString("|\n")
}
