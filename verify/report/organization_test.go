package report

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
)

// organizationSample has an account of every kind: passed, failed in one of two
// Regions, role refused, cut off after a Region, excluded.
func organizationSample() *Organization {
	west := good()
	west.Subject.Region = "eu-west-1"
	o := &Organization{
		Schema: OrganizationSchema, Version: "1.0.0", StartedAt: good().StartedAt, FinishedAt: good().FinishedAt, Caller: "arn:aws:iam::999999999999:role/auditor",
		Role: "audit/verify", Regions: []string{"us-east-1", "eu-west-1"}, Flags: []string{"--role=audit/verify"}, Endpoints: []Endpoint{{"sts", "https://sts.us-east-1.amazonaws.com", true}},
		CABundle: "AWS_CA_BUNDLE=/x",
		Accounts: []Account{
			{ID: "111111111111", Name: "payments", Reports: []Report{*good(), *west}},
			{ID: "222222222222", Name: "<script>alert(1)</script>\x1b[2J", Reports: []Report{*good(), *sample()}},
			{ID: "333333333333", NotExamined: "the role was not assumed: AccessDenied", Reports: []Report{}},
			{ID: "444444444444", NotExamined: "it took longer than 5m0s", Reports: []Report{*good()}},
			{ID: "555555555555", Verdict: Skipped, NotExamined: "excluded by --exclude-account", Reports: []Report{}},
		},
	}
	o.Judge()
	return o
}

func renderOrganization(t *testing.T, format string, o *Organization, style Options) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, WriteOrganization(&b, format, o, style))
	return b.String()
}

func TestOrganization_AccountNotExaminedNeverPasses(t *testing.T) {
	t.Parallel()
	o := organizationSample()
	var verdicts []Status
	for _, a := range o.Accounts {
		verdicts = append(verdicts, a.Verdict)
	}
	require.Equal(t, []Status{Pass, Fail, Error, Error, Skipped}, verdicts)
	require.Equal(t, Fail, o.Verdict)
	require.Equal(t, Summary{Pass: 1, Fail: 1, Error: 2, Skipped: 1}, o.Summary)
	require.Equal(t, "1 of 4 accounts failed, 2 not examined", o.headline())
	// Not a single check of theirs is shown as passed.
	for _, c := range o.columns() {
		require.Equal(t, Pass, o.Accounts[0].cell(good().Results[0].ID, 2))
		require.Equal(t, Error, o.Accounts[2].cell(c.ID, 2), c.ID)
		require.NotEqual(t, Pass, o.Accounts[3].cell(c.ID, 2), c.ID)
		require.Equal(t, Skipped, o.Accounts[4].cell(c.ID, 2), c.ID)
	}
	for name, accounts := range map[string][]Account{"none": nil, "all excluded": {o.Accounts[4]}, "no result": {{ID: "1"}}} {
		o := &Organization{Accounts: accounts}
		o.Judge()
		require.Equal(t, Error, o.Verdict, name)
	}
}

func TestWriteOrganization_JSONHoldsToTheSchema(t *testing.T) {
	t.Parallel()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	schema, err := c.Compile(schemaFile + "#/$defs/organization")
	require.NoError(t, err)
	for name, o := range map[string]*Organization{"sample": organizationSample(), "redacted": RedactOrganization(organizationSample())} {
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(renderOrganization(t, "json", o, Options{})))
		require.NoError(t, err, name)
		require.NoError(t, schema.Validate(doc), name)
		doc.(map[string]any)["extra"] = 1
		require.Error(t, schema.Validate(doc), name)
	}
}

func TestWriteOrganization_TableKeepsToTheWidth(t *testing.T) {
	t.Parallel()
	for _, width := range []int{60, 80, 132} {
		for _, line := range strings.Split(renderOrganization(t, "table", organizationSample(), Options{Width: width, Verbose: true}), "\n") {
			require.LessOrEqual(t, columns(line), width, line)
		}
	}
}

func TestWriteOrganization_HTMLLinksToTheFindings(t *testing.T) {
	t.Parallel()
	page := renderOrganization(t, "html", organizationSample(), Options{})
	require.NotContains(t, page, "<script")
	require.NotContains(t, page, "\x1b")
	for _, a := range organizationSample().Accounts {
		require.Contains(t, page, `href="#a`+a.ID+`"`)
		require.Contains(t, page, `id="a`+a.ID+`"`)
	}
	require.Contains(t, page, "the role was not assumed: AccessDenied")
}

func TestRedactOrganization_NamesNoAccount(t *testing.T) {
	t.Parallel()
	for _, format := range OrganizationFormats {
		text := renderOrganization(t, format, RedactOrganization(organizationSample()), Options{Verbose: true})
		for _, secret := range slices.Concat([]string{"payments", sampleAccount, "999999999999"}, []string{"111111111111", "222222222222", "333333333333", "444444444444", "555555555555"}) {
			require.NotContains(t, text, secret, format)
		}
	}
}
