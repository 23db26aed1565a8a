package check

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/athena"
	athenatypes "github.com/aws/aws-sdk-go-v2/service/athena/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/localaws"
)

// The buckets of a component AuditTrail with the name audit, as the provider names them.
const (
	auditLogs    = "audit-" + owner + "-20260301101112131400000001"
	auditResults = "audit-results-" + owner + "-20260301101112131400000001"
)

// auditStack is an account in which an up makes an AuditTrail.
func auditStack(t *testing.T) *stack {
	t.Helper()
	s := &stack{}
	s.aws, s.cfg = newAWS(t, localaws.Options{})
	s.config = Config{AWS: s.cfg, lookupRate: 1 << 20}
	s.likeBucket(t, auditLogs)
	policy := strings.ReplaceAll(logsPolicy, logsBucket, auditLogs)
	_, err := s3.NewFromConfig(s.cfg).PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: aws.String(auditLogs), Policy: &policy})
	require.NoError(t, err)
	s.likeBucket(t, auditResults)
	_, err = s3.NewFromConfig(s.cfg).PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: aws.String(auditResults), Policy: aws.String(strings.ReplaceAll(policy, auditLogs, auditResults))})
	require.NoError(t, err)
	return s
}

func (s *stack) auditTrail(t *testing.T, logs bool) {
	t.Helper()
	c := cloudtrail.NewFromConfig(s.cfg)
	_, err := c.CreateTrail(t.Context(), &cloudtrail.CreateTrailInput{Name: aws.String("audit"), S3BucketName: aws.String(auditLogs)})
	require.NoError(t, err)
	if logs {
		_, err = c.StartLogging(t.Context(), &cloudtrail.StartLoggingInput{Name: aws.String("audit")})
		require.NoError(t, err)
	}
}

func (s *stack) auditWorkgroup(t *testing.T, description string) {
	t.Helper()
	_, err := athena.NewFromConfig(s.cfg).CreateWorkGroup(t.Context(), &athena.CreateWorkGroupInput{Name: aws.String("audit"), Description: &description, Configuration: &athenatypes.WorkGroupConfiguration{
		ResultConfiguration: &athenatypes.ResultConfiguration{OutputLocation: aws.String("s3://" + auditResults + "/")},
	}})
	require.NoError(t, err)
}

func (s *stack) auditDatabase(t *testing.T, description string, tables ...string) {
	t.Helper()
	s.glue(t, "CreateDatabase", `{"DatabaseInput":{"Name":"audit","Description":"`+description+`"}}`)
	for _, table := range tables {
		s.glue(t, "CreateTable", `{"DatabaseName":"audit","TableInput":{"Name":"`+table+`","StorageDescriptor":{"Location":"s3://`+auditLogs+`/"}}}`)
	}
}

func TestTrailOrphans(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		make  func(*testing.T, *stack)
		want  []string // the commands
		doubt string   // of the last orphan
		logs  bool
	}{
		"nothing":                          {make: func(*testing.T, *stack) {}},
		"a trail that has never logged":    {make: func(t *testing.T, s *stack) { s.auditTrail(t, false) }, want: []string{"aws cloudtrail delete-trail --region us-east-1 --name audit"}},
		"a workgroup":                      {make: func(t *testing.T, s *stack) { s.auditWorkgroup(t, "queries of the trail audit") }, want: []string{"aws athena delete-work-group --region us-east-1 --work-group audit"}},
		"a workgroup of another program":   {make: func(t *testing.T, s *stack) { s.auditWorkgroup(t, "queries") }},
		"a database":                       {make: func(t *testing.T, s *stack) { s.auditDatabase(t, "log files of the trail audit") }, want: []string{"aws glue delete-database --region us-east-1 --name audit"}},
		"a database with its table":        {make: func(t *testing.T, s *stack) { s.auditDatabase(t, "log files of the trail audit", "cloudtrail") }, want: []string{"aws glue delete-database --region us-east-1 --name audit"}},
		"a database with another table":    {make: func(t *testing.T, s *stack) { s.auditDatabase(t, "log files of the trail audit", "cloudtrail", "mine") }, want: []string{"aws glue delete-database --region us-east-1 --name audit"}, doubt: "it has the table mine too"},
		"a database of another trail":      {make: func(t *testing.T, s *stack) { s.auditDatabase(t, "log files of the trail audit-2") }},
		"a bucket, of a trail without log": {make: func(t *testing.T, s *stack) { s.likeBucket(t, auditLogs[:len(auditLogs)-1]+"2") }},
		"all, of a trail that logs": {logs: true, make: func(t *testing.T, s *stack) {
			s.auditTrail(t, true)
			s.auditWorkgroup(t, "queries of the trail audit")
			s.auditDatabase(t, "log files of the trail audit", "cloudtrail")
		}},
		"a trail that logs no more": {logs: true, make: func(t *testing.T, s *stack) {
			s.auditTrail(t, true)
			_, err := cloudtrail.NewFromConfig(s.cfg).StopLogging(t.Context(), &cloudtrail.StopLoggingInput{Name: aws.String("audit")})
			require.NoError(t, err)
		}},
		"buckets like those of a trail that logs": {logs: true, make: func(t *testing.T, s *stack) {
			s.auditTrail(t, true)
			s.auditWorkgroup(t, "queries of the trail audit")
			for _, b := range []string{auditLogs, auditResults} {
				s.likeBucket(t, b[:len(b)-1]+"2")
			}
		}, want: []string{"aws s3api delete-bucket --region us-east-1 --bucket " + auditLogs[:len(auditLogs)-1] + "2", "aws s3api delete-bucket --region us-east-1 --bucket " + auditResults[:len(auditResults)-1] + "2"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := auditStack(t)
			c.make(t, s)
			logging, found, err := TrailOrphans(t.Context(), s.config, "audit")
			require.NoError(t, err)
			require.Equal(t, c.logs, !logging.IsZero())
			if c.logs {
				require.WithinDuration(t, time.Now(), logging, time.Minute)
			}
			var commands []string
			for _, o := range found {
				commands = append(commands, o.Remove(region))
			}
			require.Equal(t, c.want, commands)
			if len(found) > 0 {
				require.Equal(t, c.doubt, found[len(found)-1].Doubt)
			}
		})
	}
}

func TestTrailOrphans_AWSRefuses(t *testing.T) {
	t.Parallel()
	for action, operation := range map[string]string{
		"cloudtrail:DescribeTrails": "DescribeTrails", "cloudtrail:GetTrailStatus": "GetTrailStatus", "athena:ListWorkGroups": "ListWorkGroups",
		"athena:GetWorkGroup": "GetWorkGroup", "athena:ListDatabases": "ListDatabases", "athena:ListTableMetadata": "ListTableMetadata",
	} {
		t.Run(action, func(t *testing.T) {
			t.Parallel()
			s := auditStack(t)
			s.auditTrail(t, false)
			s.auditWorkgroup(t, "queries of the trail audit")
			s.auditDatabase(t, "log files of the trail audit")
			s.aws.Inject(localaws.Fault{Operation: operation, Status: http.StatusBadRequest, Code: "AccessDeniedException"})
			_, _, err := TrailOrphans(t.Context(), s.config, "audit")
			require.ErrorContains(t, err, action+": AccessDeniedException")
		})
	}
}

func TestTrailOrphans_RefusesWhatIsNoName(t *testing.T) {
	t.Parallel()
	s := auditStack(t)
	_, _, err := TrailOrphans(t.Context(), s.config, "audit; rm -rf /")
	require.ErrorAs(t, err, new(*InputError))
}
