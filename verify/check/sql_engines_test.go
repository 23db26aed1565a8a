package check

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/athena"
	"github.com/aws/aws-sdk-go-v2/service/athena/types"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/localaws"
	"github.com/securethecloud/kms-baseline/sandbox/trino"
	"github.com/securethecloud/kms-baseline/sandbox/trino/trinotest"
)

// sqlStack is a loggedStack whose Athena executes queries with a real Trino.
type sqlStack struct {
	*loggedStack
	trino *trino.Server
}

const (
	workgroup = "audit"
	// trailTable is what verify athena ddl prints, as Glue has it. Its days reach into
	// the future: the stack's clock is ahead of Trino's.
	trailTable = `{"DatabaseName":"audit","TableInput":{"Name":"cloudtrail","TableType":"EXTERNAL_TABLE",
"Parameters":{"EXTERNAL":"TRUE","projection.enabled":"true","projection.region.type":"enum","projection.region.values":"us-east-1,eu-west-1",
	"projection.day.type":"date","projection.day.format":"yyyy/MM/dd","projection.day.range":"2026/01/01,NOW+3DAYS","projection.day.interval":"1","projection.day.interval.unit":"DAYS",
	"storage.location.template":"s3://` + logsBucket + `/AWSLogs/` + owner + `/CloudTrail/${region}/${day}"},
"PartitionKeys":[{"Name":"region","Type":"string"},{"Name":"day","Type":"string"}],
"StorageDescriptor":{"Location":"s3://` + logsBucket + `/AWSLogs/` + owner + `/CloudTrail/",
	"InputFormat":"org.apache.hadoop.mapred.TextInputFormat","OutputFormat":"org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
	"SerdeInfo":{"SerializationLibrary":"org.openx.data.jsonserde.JsonSerDe"},
	"Columns":[{"Name":"records","Type":"array<struct<eventversion:string,useridentity:struct<type:string,principalid:string,arn:string,accountid:string,invokedby:string,sessioncontext:struct<sessionissuer:struct<type:string,principalid:string,arn:string,accountid:string,username:string>>>,eventtime:string,eventsource:string,eventname:string,awsregion:string,errorcode:string,requestparameters:string,responseelements:string,eventid:string,resources:array<struct<arn:string,accountid:string,type:string>>>>"}]}}}`
)

// organizationTable is what verify athena ddl prints with --organization, over the folders
// of a trail of one account.
var organizationTable = strings.NewReplacer(
	`"Name":"cloudtrail","TableType"`, `"Name":"organization","TableType"`,
	`"projection.enabled":"true",`, `"projection.enabled":"true","projection.account.type":"injected",`,
	`AWSLogs/`+owner+`/CloudTrail/${region}`, `AWSLogs/${account}/CloudTrail/${region}`,
	`AWSLogs/`+owner+`/CloudTrail/"`, `AWSLogs/"`,
	`"PartitionKeys":[`, `"PartitionKeys":[{"Name":"account","Type":"string"},`,
).Replace(trailTable)

// newSQLStack starts a Trino.
func newSQLStack(t *testing.T) *sqlStack {
	t.Helper()
	addr, err := trino.FreeAddr(t.Context())
	require.NoError(t, err)
	s := &sqlStack{loggedStack: newLoggedStackIn(t, localaws.Options{Trino: "http://" + addr})}
	s.trino = trinotest.Start(t, trino.Options{URL: s.aws.URL(), CAFile: s.aws.CAFile(), Region: region, AccessKey: owner, Addr: addr})
	s.config.Since += time.Hour // the clock goes on while Trino starts
	s.glue(t, "CreateDatabase", `{"DatabaseInput":{"Name":"audit"}}`)
	s.glue(t, "CreateTable", trailTable)
	s.glue(t, "CreateTable", organizationTable)
	_, err = s.athena().CreateWorkGroup(t.Context(), &athena.CreateWorkGroupInput{Name: aws.String(workgroup), Configuration: &types.WorkGroupConfiguration{
		ResultConfiguration: &types.ResultConfiguration{OutputLocation: aws.String("s3://" + logsBucket + "/results/")},
	}})
	require.NoError(t, err)
	return s
}

func (s *sqlStack) athena() *athena.Client { return athena.NewFromConfig(s.cfg) }

// glue sends one request; the SDK's client of Glue would be a dependency for two.
func (s *stack) glue(t *testing.T, operation, body string) {
	t.Helper()
	h, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.aws.URL(), strings.NewReader(body))
	require.NoError(t, err)
	h.Header.Set("Content-Type", "application/x-amz-json-1.1")
	h.Header.Set("X-Amz-Target", "AWSGlue."+operation)
	h.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+owner+"/20260101/"+region+"/glue/aws4_request, SignedHeaders=host, Signature=0")
	resp, err := s.cfg.HTTPClient.Do(h)
	require.NoError(t, err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, resp.StatusCode, "%s", answer)
}

// endless is a query that ends only when it is cancelled.
const endless = "SELECT count(*) FROM UNNEST(sequence(1,10000)) a(a) CROSS JOIN UNNEST(sequence(1,10000)) b(b) CROSS JOIN UNNEST(sequence(1,10000)) c(c) WHERE a*b*c = 7"

func TestTrino_CancelledQueryIsDeleted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	var deleted bool
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodPost:
			_, _ = io.WriteString(w, `{"id":"q1","nextUri":"`+server.URL+`/v1/statement/q1/1"}`)
		case http.MethodGet:
			cancel()
			<-r.Context().Done()
		case http.MethodDelete:
			deleted = r.URL.Path == "/v1/statement/q1/1"
			w.WriteHeader(http.StatusNoContent)
		}
	}))
	defer server.Close()
	e, _, err := newTrinoEngine(server.URL + "/c.d.t")
	require.NoError(t, err)
	_, id, err := e.query(ctx, endless, nil)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, "q1", id)
	require.True(t, deleted)
}

func TestAthena_CancelledQueryIsStopped(t *testing.T) {
	t.Parallel()
	cause := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		var in struct{ QueryExecutionID string }
		_ = json.NewDecoder(r.Body).Decode(&in) // a test's own request
		switch _, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), "."); operation {
		case "StartQueryExecution":
			_, _ = io.WriteString(w, `{"QueryExecutionId":"q1"}`)
		case "GetQueryExecution":
			_, _ = io.WriteString(w, `{"QueryExecution":{"QueryExecutionId":"q1","Status":{"State":"RUNNING"}}}`)
			cancel(cause)
		case "StopQueryExecution":
			stopped = in.QueryExecutionID
			_, _ = io.WriteString(w, `{}`)
		}
	}))
	defer server.Close()
	cfg := aws.Config{Region: region, BaseEndpoint: &server.URL, Credentials: credentials.NewStaticCredentialsProvider(owner, "secret", "")}
	e := &athenaEngine{workgroup: workgroup, client: athena.NewFromConfig(cfg)}
	_, _, err := e.query(ctx, endless, nil)
	require.Error(t, err)
	require.ErrorIs(t, context.Cause(ctx), cause)
	require.Equal(t, "q1", stopped)
}

func TestTrino_PasswordIsSentOverTLSOnly(t *testing.T) {
	t.Setenv(trinoPassword, "s3cret-word")
	var passwords []string
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		passwords = append(passwords, user+":"+password)
		_, _ = io.WriteString(w, `{"id":"q1"}`)
	})
	plain, encrypted := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	defer plain.Close()
	defer encrypted.Close()
	for _, server := range []*httptest.Server{plain, encrypted} {
		e, _, err := newTrinoEngine(strings.Replace(server.URL, "://", "://auditor@", 1) + "/c.d.t")
		require.NoError(t, err)
		e.client = server.Client()
		_, _, err = e.query(t.Context(), "SELECT 1", nil)
		require.NoError(t, err)
	}
	require.Equal(t, []string{":", "auditor:s3cret-word"}, passwords)
	_, _, err := newTrinoEngine("http://trino.example.com/c.d.t")
	require.ErrorContains(t, err, "only https")
	_, err = newSQLSource(aws.Config{}, "--events", "trino:https://auditor:s3cret-word@trino.example.com/c.d.t")
	require.ErrorContains(t, err, trinoPassword)
	require.NotContains(t, err.Error(), "s3cret")

	// Neither the password nor the header is in a report, with or without an error.
	s := goodStack(t)
	s.config.Only = []string{"trail"}
	s.config.Events = "trino:" + strings.Replace(encrypted.URL, "://", "://auditor@", 1) + "/c.d.t"
	s.config.Flags = []string{"--events=" + s.config.Events}
	var b bytes.Buffer
	require.NoError(t, json.NewEncoder(&b).Encode(s.run(t)))
	require.Contains(t, b.String(), "auditor@")
	require.NotContains(t, b.String(), "s3cret")
	require.NotContains(t, b.String(), "Basic ")
}
