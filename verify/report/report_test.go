package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

func render(t *testing.T, format string, r *Report, o Options) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, Write(&b, format, r, o))
	return b.String()
}

func TestWrite_Golden(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, format string
		report       *Report
		options      Options
	}{
		{"sample.txt", "table", sample(), Options{}},
		{"sample-verbose.txt", "table", sample(), Options{Verbose: true, Width: 100}},
		{"sample-color.txt", "table", sample(), Options{Color: true}},
		{"sample.json", "json", sample(), Options{}},
		{"sample.xml", "junit", sample(), Options{}},
		{"sample.sarif", "sarif", sample(), Options{}},
		{"sample.ocsf.json", "ocsf", sample(), Options{}},
		{"sample.html", "html", sample(), Options{}},
		{"redacted.json", "json", Redact(sample()), Options{}},
		{"empty.txt", "table", empty(), Options{}},
		{"empty.json", "json", empty(), Options{}},
		{"empty.xml", "junit", empty(), Options{}},
		{"empty.sarif", "sarif", empty(), Options{}},
		{"empty.html", "html", empty(), Options{}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			got := render(t, row.format, row.report, row.options)
			require.Equal(t, got, render(t, row.format, row.report, row.options), "two runs differ")
			file := filepath.Join("testdata", row.name+".golden")
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
			}
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, string(want), got, "run go test ./verify/report -update if the change is meant")
		})
	}
}

func TestWrite_UnknownFormat(t *testing.T) {
	t.Parallel()
	err := Write(io.Discard, "yaml", sample(), Options{})
	require.EqualError(t, err, `unknown format "yaml": use one of table, json, junit, sarif, ocsf, html`)
}

func TestWrite_ReportsTheWritersError(t *testing.T) {
	t.Parallel()
	for _, format := range Formats {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			require.ErrorIs(t, Write(fullDisk{}, format, sample(), Options{}), errFull)
		})
	}
}

var errFull = errors.New("no space left on device")

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

func TestFormatForFile(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"evidence.txt": "table", "evidence.json": "json", "out/TEST-verify.XML": "junit",
		"a.sarif": "sarif", "a.sarif.json": "sarif", "a.ocsf.json": "ocsf", "evidence.html": "html",
	} {
		got, err := FormatForFile(name)
		require.NoError(t, err, name)
		require.Equal(t, want, got, name)
		require.Contains(t, Formats, got)
	}
	for _, name := range []string{"evidence", "evidence.pdf", ".json.gz", ""} {
		_, err := FormatForFile(name)
		require.ErrorContains(t, err, ".html, .json, .ocsf.json, .sarif, .txt, .xml", name)
	}
}

// Nothing that a name in the account holds may act on the reader's terminal,
// in whatever format it is shown there.
func TestWrite_NeutralizesHostileNames(t *testing.T) {
	t.Parallel()
	for _, format := range Formats {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			got := render(t, format, sample(), Options{Verbose: true})
			for _, c := range got {
				if c != '\n' && (unicode.IsControl(c) || unicode.Is(unicode.Cf, c)) {
					t.Fatalf("%U in the output", c)
				}
			}
			if format == "html" {
				require.NotContains(t, got, "<script")
			}
			requireNoCICommand(t, got)
		})
	}
}

// A CI system reads commands from the log: GitHub those of a line that starts
// with "::", and "##[" anywhere; Azure Pipelines "##vso[", TeamCity
// "##teamcity[".
func requireNoCICommand(t *testing.T, output string) {
	t.Helper()
	require.NotContains(t, output, "##")
	for line := range strings.Lines(output) {
		require.False(t, strings.HasPrefix(strings.TrimSpace(line), "::"), line)
	}
}

func TestWriteTable_NoLineIsACommandToCI(t *testing.T) {
	t.Parallel()
	r := good()
	r.Results[0].Actual = strings.Repeat("a ::add-mask::x ", 40)
	r.Results[0].Status = Fail
	r.Results[0].Failures = []string{"::error::hello", "  ::stop-commands::x"}
	r.Judge()
	for width := 40; width < 120; width++ {
		requireNoCICommand(t, render(t, "table", r, Options{Width: width, Verbose: true}))
	}
}

func TestWrite_EveryFormatNamesTheEndpoint(t *testing.T) {
	t.Parallel()
	for _, format := range Formats {
		require.Contains(t, render(t, format, good(), Options{Width: 400}), "kms.us-east-1.amazonaws.com", format)
		got := render(t, format, sample(), Options{Width: 400})
		require.Contains(t, got, "127.0.0.1:4566", format)
		head, _, _ := strings.Cut(got, "key.enabled")
		require.True(t, strings.Contains(head, "NOT AWS"), "%s: an endpoint that is not AWS's own comes first", format)
	}
	for _, format := range []string{"table", "html"} {
		lines := strings.Split(render(t, format, sample(), Options{}), "\n")
		first := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, "NOT AWS") })
		body := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, "<body>") })
		require.LessOrEqual(t, first-body, 2, format)
		require.GreaterOrEqual(t, first, 0, format)
	}
}

func TestWrite_EveryFormatStatesTheScope(t *testing.T) {
	t.Parallel()
	for _, format := range Formats {
		got := render(t, format, sample(), Options{Width: 4000})
		for _, text := range []string{"account.expected", "--only", "archive/", "partner-analytics", "AWS_CA_BUNDLE=/tmp/ca.pem"} {
			require.True(t, strings.Contains(got, text), "%s: no %s", format, text)
		}
	}
}

func TestHeadline_StatesWhatWasLeftOut(t *testing.T) {
	t.Parallel()
	require.Equal(t, "all 4 checks passed; 1 of 11 checks left out", good().headline())
}

func TestNotice(t *testing.T) {
	t.Parallel()
	r := good()
	require.Empty(t, r.Notice)
	r.Scope.CABundle = "SSL_CERT_FILE=/x"
	r.Judge()
	require.Contains(t, r.Notice, "SSL_CERT_FILE=/x")
}

func TestObjects_NamedIsNotChecked(t *testing.T) {
	t.Parallel()
	r := good()
	r.Subject.ObjectCount, r.Scope.Objects = 0, "none: no check of objects was selected"
	for _, format := range []string{"table", "html"} {
		got := render(t, format, r, Options{})
		require.NotContains(t, got, "1 object checked", format)
		require.Contains(t, got, "no check of objects was selected", format)
	}
}

func TestIsCommand(t *testing.T) {
	t.Parallel()
	for remedy, want := range map[string]bool{
		"aws kms enable-key --key-id x": true, "aws sts get-caller-identity": true, "verify --stack dev --canary": true,
		"aws s3 ls s3://b": true, "aws kms cancel-key-deletion --key-id x && aws kms enable-key --key-id x": true,
		"verify iam": true, "aws s3api put-bucket-encryption with SSEAlgorithm": false, "verify iam prints the policy": false,
		"run verify again": false, "": false, "use a bucket in the key's Region": false,
	} {
		require.Equal(t, want, IsCommand(remedy), remedy)
	}
}

func TestControlLine_NamesEachFrameworkOnce(t *testing.T) {
	t.Parallel()
	require.Equal(t, "CIS AWS Foundations 1.4: 3.8; 3.0, 4.0: 3.6; 6.0: 4.6; AWS Security Hub KMS.4, KMS.5 (in part); Checkov CKV_AWS_7", controlLine([]Control{
		{"CIS AWS Foundations 1.4", "3.8", false}, {"CIS AWS Foundations 3.0", "3.6", false}, {"CIS AWS Foundations 4.0", "3.6", false},
		{"CIS AWS Foundations 6.0", "4.6", false}, {"AWS Security Hub", "KMS.4", false}, {"AWS Security Hub", "KMS.5", true}, {"Checkov", "CKV_AWS_7", false},
	}))
}

func TestQuote(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"": "''", "a/b.c=1": "a/b.c=1", "it's $(x)": `'it'\''s $(x)'`, "~": "'~'", "ä": "'ä'", "a\nb": "'a\nb'"} {
		require.Equal(t, want, Quote(in))
	}
}

func TestWriteTable_KeepsToTheWidth(t *testing.T) {
	t.Parallel()
	for _, width := range []int{40, 60, 80, 132} {
		for _, line := range strings.Split(render(t, "table", sample(), Options{Width: width, Verbose: true}), "\n") {
			// A command's words are not broken, or it could not be pasted.
			if strings.HasSuffix(line, ` \`) || strings.Contains(line, "  --") || strings.Contains(line, `\u003a:`) {
				continue
			}
			require.LessOrEqual(t, columns(line), width, line)
		}
	}
}

func TestWriteTable_ColorChangesNoCharacter(t *testing.T) {
	t.Parallel()
	colored := render(t, "table", sample(), Options{Color: true})
	require.Contains(t, colored, "\x1b[1;31m✗ fail")
	sgr := regexp.MustCompile("\x1b\\[[0-9;]+m")
	require.Equal(t, render(t, "table", sample(), Options{}), sgr.ReplaceAllString(colored, ""))
}

func TestWrapCommand_IsTheSameCommand(t *testing.T) {
	t.Parallel()
	command := `aws s3 cp "s3://b/a  file" 's3://b/it is' --sse aws:kms --metadata a\ b=c`
	lines := wrapCommand(command, 24)
	require.Greater(t, len(lines), 2)
	joined := strings.Join(lines, "\n")
	require.Equal(t, command, strings.ReplaceAll(joined, " \\\n ", ""))
}

func TestWriteJSON_HoldsToTheSchema(t *testing.T) {
	t.Parallel()
	schema := compiledSchema(t)
	for name, r := range map[string]*Report{"sample": sample(), "redacted": Redact(sample()), "good": good(), "empty": empty()} {
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(render(t, "json", r, Options{})))
		require.NoError(t, err, name)
		require.NoError(t, schema.Validate(doc), name)
	}
}

// The sample must fill every field, or the schema is not held to all of them.
func TestSample_FillsEveryField(t *testing.T) {
	t.Parallel()
	filled := map[string]bool{}
	var walk func(path string, v reflect.Value)
	walk = func(path string, v reflect.Value) {
		switch {
		case v.Type() == reflect.TypeFor[time.Time]() || v.Kind() != reflect.Struct && v.Kind() != reflect.Slice:
			require.NotContains(t, []reflect.Kind{reflect.Map, reflect.Pointer, reflect.Interface, reflect.Array}, v.Kind(),
				"%s: mapStrings does not reach into this kind", path)
			filled[path] = filled[path] || !v.IsZero()
		case v.Kind() == reflect.Slice:
			filled[path] = filled[path] || v.Len() > 0
			for i := range v.Len() {
				walk(path+"[]", v.Index(i))
			}
		default:
			for i := range v.NumField() {
				walk(path+"."+v.Type().Field(i).Name, v.Field(i))
			}
		}
	}
	walk("Report", reflect.ValueOf(*sample()))
	for path, ok := range filled {
		require.True(t, ok, "the sample leaves %s empty", path)
	}
}

func TestSchema_RefusesWhatItDoesNotDescribe(t *testing.T) {
	t.Parallel()
	schema := compiledSchema(t)
	for name, change := range map[string]func(map[string]any){
		"an unknown field":             func(m map[string]any) { m["extra"] = 1 },
		"an unknown field of a result": func(m map[string]any) { m["results"].([]any)[0].(map[string]any)["extra"] = 1 },
		"a missing verdict":            func(m map[string]any) { delete(m, "verdict") },
		"an unknown status":            func(m map[string]any) { m["verdict"] = "ok" },
		"another version":              func(m map[string]any) { m["schema"] = "kms-baseline/verify/v2" },
		"a time that is none":          func(m map[string]any) { m["startedAt"] = "yesterday" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var m map[string]any
			require.NoError(t, json.Unmarshal([]byte(render(t, "json", sample(), Options{})), &m))
			change(m)
			require.Error(t, schema.Validate(m))
		})
	}
}

func TestSchema_DescribesEveryProperty(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(schemaFile)
	require.NoError(t, err)
	var doc any
	require.NoError(t, json.Unmarshal(raw, &doc))
	var walk func(path string, v any)
	walk = func(path string, v any) {
		m, ok := v.(map[string]any)
		if !ok {
			return
		}
		props, _ := m["properties"].(map[string]any)
		for name, p := range props {
			prop := p.(map[string]any)
			require.True(t, prop["description"] != nil || prop["$ref"] != nil, "%s.%s has no description", path, name)
		}
		for name, x := range m {
			walk(path+"."+name, x)
		}
	}
	walk("", doc)
}

const schemaFile = "../../docs/verify.schema.json"

func compiledSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	schema, err := c.Compile(schemaFile)
	require.NoError(t, err)
	return schema
}

func TestWriteJSON_ReadsBackTheSame(t *testing.T) {
	t.Parallel()
	var back Report
	require.NoError(t, json.Unmarshal([]byte(render(t, "json", sample(), Options{})), &back))
	// JSON has no bytes outside UTF-8; everything else comes back.
	want := mapStrings(sample(), func(s string) string { return strings.ToValidUTF8(s, "\ufffd") })
	require.Equal(t, *want, back)
}

func TestWriteJUnit_NoStatusIsShownGreen(t *testing.T) {
	t.Parallel()
	var doc junitSuites
	require.NoError(t, xml.Unmarshal([]byte(render(t, "junit", sample(), Options{})), &doc))
	require.NotContains(t, elements(t, render(t, "junit", sample(), Options{})), "script", "a name became markup")
	require.Equal(t, []int{10, 3, 2, 1}, []int{doc.Tests, doc.Failures, doc.Errors, doc.Skipped})
	byName := map[string]junitCase{}
	for _, s := range doc.Suites {
		require.Len(t, s.Cases, s.Tests)
		require.Contains(t, s.Properties, junitProperty{"account", sampleAccount})
		require.Contains(t, s.Properties, junitProperty{"region", "us-east-1"})
		require.Contains(t, s.Properties, junitProperty{"key", sampleKey})
		for _, c := range s.Cases {
			id, _, _ := strings.Cut(c.Name, ":")
			byName[id] = c
		}
	}
	require.Nil(t, byName["key.enabled"].Failure)
	require.Nil(t, byName["key.enabled"].Error)
	require.Equal(t, "fail", byName["key.rotation"].Failure.Type)
	require.Contains(t, byName["key.rotation"].Failure.Text, "run:      aws kms enable-key-rotation")
	require.Equal(t, "error", byName["key.policy"].Error.Type)
	require.Equal(t, "inconclusive", byName["trail.decrypt"].Error.Type)
	require.Nil(t, byName["trail.decrypt"].Skipped)
	require.NotNil(t, byName["canary.default"].Skipped)
}

// elements names the elements of an XML document.
func elements(t *testing.T, doc string) []string {
	t.Helper()
	var names []string
	for d := xml.NewDecoder(strings.NewReader(doc)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return names
		}
		require.NoError(t, err)
		if e, ok := token.(xml.StartElement); ok {
			names = append(names, e.Name.Local)
		}
	}
}

// What SARIF 2.1.0 demands of the parts that are written, and what GitHub code
// scanning demands beyond it.
func TestWriteSARIF_Essentials(t *testing.T) {
	t.Parallel()
	var log sarifLog
	raw := render(t, "sarif", sample(), Options{})
	d := json.NewDecoder(strings.NewReader(raw))
	d.DisallowUnknownFields()
	require.NoError(t, d.Decode(&log))
	require.Equal(t, "2.1.0", log.Version)
	require.Len(t, log.Runs, 1)
	run := log.Runs[0]
	require.NotEmpty(t, run.Tool.Driver.Name)
	require.Len(t, run.Tool.Driver.Rules, 10, "a rule per check, also for the passed ones")
	require.False(t, run.Invocations[0].ExecutionSuccessful, "a check could not be evaluated")
	for _, rule := range run.Tool.Driver.Rules {
		require.NotEmpty(t, rule.ShortDescription.Text)
		require.NotEmpty(t, rule.FullDescription.Text)
		require.NotEmpty(t, rule.Help.Text)
		require.Contains(t, []string{"note", "warning", "error"}, rule.Configuration.Level)
	}
	rotation := run.Tool.Driver.Rules[1]
	require.Equal(t, "key.rotation", rotation.ID)
	require.Contains(t, rotation.Properties.Tags, "CIS AWS Foundations 3.0 3.6")

	kinds := map[string]string{}
	prints := map[string]bool{}
	for _, res := range run.Results {
		kinds[res.RuleID] = res.Kind + " " + res.Level
		require.Equal(t, res.RuleID, run.Tool.Driver.Rules[res.RuleIndex].ID)
		require.NotEmpty(t, res.Message.Text)
		require.Len(t, res.Locations, 1)
		require.Equal(t, "Pulumi.yaml", res.Locations[0].Physical.Artifact.URI, "GitHub takes relative URIs only")
		require.NotEmpty(t, res.Locations[0].Logical)
		if res.Kind != "fail" {
			require.Equal(t, "none", res.Level, "section 3.27.10")
		}
		prints[res.Fingerprints["primaryLocationLineHash"]] = true
	}
	require.Equal(t, map[string]string{
		"key.rotation":  "fail error",
		"key.policy":    "open none",
		"bucket.tls":    "fail warning",
		"object.key":    "fail error",
		"trail.decrypt": "open none",
	}, kinds)
	require.Len(t, prints, len(run.Results), "each result has a fingerprint of its own")
	require.Equal(t, sampleKey, run.Results[0].Locations[0].Logical[0].FullyQualifiedName)
	object := run.Results[3].Locations[0].Logical
	require.Equal(t, "arn:aws:s3:::"+sampleBucket, object[0].FullyQualifiedName)
	require.Equal(t, "arn:aws:s3:::"+sampleBucket+"/test/old file.txt", object[2].FullyQualifiedName)
	levels := map[string]string{}
	for _, n := range run.Invocations[0].Notifications {
		if n.AssociatedRule == nil {
			require.Contains(t, n.Message.Text, "NOT AWS")
			continue
		}
		levels[n.AssociatedRule.ID] = n.Level
	}
	require.Equal(t, map[string]string{"key.policy": "error", "canary.default": "note"}, levels)
}

func TestWriteOCSF_HoldsToTheSchema(t *testing.T) {
	t.Parallel()
	schema, err := jsonschema.NewCompiler().Compile("testdata/ocsf-1.8.0.schema.json")
	require.NoError(t, err)
	for name, r := range map[string]*Report{"sample": sample(), "redacted": Redact(sample()), "good": good(), "empty": empty()} {
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(render(t, "ocsf", r, Options{})))
		require.NoError(t, err, name)
		require.NoError(t, schema.Validate(doc), name)
		require.Len(t, doc, len(r.Results), name)
	}
	for name, change := range map[string]func(map[string]any){
		"an attribute that OCSF has not": func(m map[string]any) { m["verdict_text"] = "x" },
		"no cloud":                       func(m map[string]any) { delete(m, "cloud") },
		"another severity":               func(m map[string]any) { m["severity_id"] = 7 },
		"id and text apart":              func(m map[string]any) { m["severity_id"], m["severity"] = 5, "Low" },
		"a pass by another name":         func(m map[string]any) { m["compliance"].(map[string]any)["status_id"] = 1 },
	} {
		var findings []map[string]any
		require.NoError(t, json.Unmarshal([]byte(render(t, "ocsf", sample(), Options{})), &findings))
		change(findings[1])
		b, err := json.Marshal(findings)
		require.NoError(t, err)
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		require.NoError(t, err)
		require.Error(t, schema.Validate(doc), name)
	}
}

func TestWriteOCSF_OnlyAPassIsAPass(t *testing.T) {
	t.Parallel()
	var findings []ocsfFinding
	require.NoError(t, json.Unmarshal([]byte(render(t, "ocsf", sample(), Options{})), &findings))
	for i, x := range sample().Results {
		c := findings[i].Compliance
		require.Equal(t, x.Status == Pass, c.StatusID == 1, x.ID)
		require.Equal(t, x.Status == Fail, c.StatusID == 3, x.ID)
		require.Equal(t, string(x.Status), strings.ToLower(c.Status), x.ID)
		require.Contains(t, findings[i].Cloud.Provider, "not AWS")
	}
	require.NoError(t, json.Unmarshal([]byte(render(t, "ocsf", good(), Options{})), &findings))
	require.Equal(t, "AWS", findings[0].Cloud.Provider)
	require.Equal(t, sampleKey, findings[0].Resources[0].UID)
}

func TestWriteSARIF_NamesAreNoLinks(t *testing.T) {
	t.Parallel()
	r := sample()
	r.Results[1].Actual = "object [x](https://example.com)"
	require.Contains(t, render(t, "sarif", r, Options{}), `object \\[x\\](https://example.com)`)
}

func TestWriteHTML_AsksForNothing(t *testing.T) {
	t.Parallel()
	got := render(t, "html", sample(), Options{})
	require.Contains(t, got, `content="default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"`)
	for _, tag := range []string{"<script", "<link", "<img", "<iframe", "<base", "@import", "src=", `href="http`} {
		require.NotContains(t, got, tag)
	}
	require.NotRegexp(t, `url\([^#]`, got)
}

func TestWriteHTML_ShowsEveryResult(t *testing.T) {
	t.Parallel()
	got := render(t, "html", sample(), Options{})
	for _, x := range sample().Results {
		require.Contains(t, got, `id="`+x.ID+`"`)
	}
	require.Contains(t, got, "3 of 9 checks failed")
	require.Contains(t, got, "0a1b2c3d-1111-4222-8333-000000000002")
	require.Contains(t, got, "2026-03-14 09:40:01 UTC")
}

func TestChain(t *testing.T) {
	t.Parallel()
	status := func(r *Report) []Status {
		var out []Status
		for _, l := range chainOf(r).Links {
			out = append(out, l.Status)
		}
		return out
	}
	require.Equal(t, []Status{Pass, Fail, Inconclusive}, status(sample()))
	require.Equal(t, []Status{Skipped, Skipped, Skipped}, status(empty()))
	c := chainOf(sample())
	require.Equal(t, "e0000000-0000-4000-8000-000000000003", c.Nodes[3].Name)
	require.Contains(t, c.words(), sampleKey)
	for _, svg := range []chainSVG{c.across(), c.down()} {
		for _, n := range svg.Nodes {
			require.LessOrEqual(t, float64(columns(n.Short))*charWidth, float64(n.Width-28), n.Short)
		}
	}
}

func TestUsageOf(t *testing.T) {
	t.Parallel()
	events := func(times ...time.Time) []KeyUse {
		var out []KeyUse
		for _, x := range times {
			out = append(out, KeyUse{Time: x, Name: "Decrypt"})
		}
		return out
	}
	start := time.Date(2026, time.January, 5, 0, 0, 30, 0, time.UTC)
	for _, row := range []struct {
		name   string
		events []KeyUse
		step   time.Duration
		bins   int
	}{
		{"one event has room around it", events(start), time.Minute, 6},
		{"an hour", events(start, start.Add(time.Hour)), 5 * time.Minute, 13},
		{"newest first", events(start.Add(time.Hour), start), 5 * time.Minute, 13},
		{"a day", events(start, start.Add(23*time.Hour)), time.Hour, 24},
		{"the history's 90 days", events(start, start.AddDate(0, 0, 90)), 7 * 24 * time.Hour, 13},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			u := usageOf(row.events, 30)
			require.Equal(t, row.step, u.Step)
			require.Len(t, u.Bins, row.bins)
			sum := 0
			for _, b := range u.Bins {
				sum += b.Counts[1]
			}
			require.Equal(t, len(row.events), sum)
			require.Equal(t, []int{0, len(row.events)}, u.Totals)
		})
	}
	require.Len(t, usageOf(sample().Events, 30).Series, 3, "Encrypt is neither of the two")
}

func TestNiceStep(t *testing.T) {
	t.Parallel()
	for most, want := range map[int]int{1: 1, 5: 1, 6: 2, 10: 2, 11: 5, 26: 10, 499: 100, 501: 200} {
		require.Equal(t, want, niceStep(most), most)
	}
}

func TestShorten(t *testing.T) {
	t.Parallel()
	require.Equal(t, "short", shorten("short", 10))
	require.Equal(t, "abcde…wxyz", shorten("abcdefghijklmnopqrstuvwxyz", 10))
	require.LessOrEqual(t, columns(shorten(strings.Repeat("鍵", 30), 10)), 10)
}

func TestClean(t *testing.T) {
	t.Parallel()
	require.Equal(t, "plain Ünïcode ✓", clean("plain Ünïcode ✓"))
	require.Equal(t, `a\nb\tc\u001b[31m\u202e\u0000\xff\udb40\udc41`, clean("a\nb\tc\x1b[31m\u202e\x00\xff\U000e0041"))
}
