package main

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAthenaDDL_IsTheDocumentedTable(t *testing.T) {
	t.Parallel()
	d := tableDDL{table: "cloudtrail", events: "s3://audit-logs", account: "111122223333", since: "2026-01-01", regions: []string{"us-east-1", "eu-west-1"}}
	page, err := os.ReadFile("../docs/scale.md")
	require.NoError(t, err)
	for range 2 {
		text, err := d.text()
		require.NoError(t, err)
		require.NotRegexp(t, `[A-Z]+_[A-Z]+(NAME|URI)|ACCOUNT|REGIONS|SINCE`, text)
		require.Contains(t, string(page), "```sql\n"+text+"```\n")
		d.account, d.organization = "", "o-a1b2c3d4e5"
	}
}

func TestAthenaDDL_TakesNothingThatEndsAQuotation(t *testing.T) {
	t.Parallel()
	good := tableDDL{table: "cloudtrail", events: "s3://audit-logs/trail", account: "111122223333", since: "2026-01-01", regions: []string{"us-east-1"}}
	_, err := good.text()
	require.NoError(t, err)
	for name, change := range map[string]func(*tableDDL){
		"table":              func(d *tableDDL) { d.table = "t (x int)" },
		"bucket":             func(d *tableDDL) { d.events = "s3://b'" },
		"prefix":             func(d *tableDDL) { d.events = "s3://audit-logs/x') --" },
		"variable in prefix": func(d *tableDDL) { d.events = "s3://audit-logs/${region}" },
		"below AWSLogs":      func(d *tableDDL) { d.events = "s3://audit-logs/AWSLogs/111122223333" },
		"account":            func(d *tableDDL) { d.account = "1'" },
		"organization":       func(d *tableDDL) { d.account, d.organization = "", "o-a1b2c3d4e5'" },
		"both":               func(d *tableDDL) { d.organization = "o-a1b2c3d4e5" },
		"Region":             func(d *tableDDL) { d.regions = []string{"us-east-1','x"} },
		"day":                func(d *tableDDL) { d.since = "2026-13-01" },
		"nothing":            func(d *tableDDL) { *d = tableDDL{} },
	} {
		d := good
		change(&d)
		_, err := d.text()
		require.Error(t, err, name)
	}
}
