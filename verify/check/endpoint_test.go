package check

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/stretchr/testify/require"
)

func TestEndpoint_OnlyTheServicesOwnNamesAreAWS(t *testing.T) {
	t.Parallel()
	for x, want := range map[endpoint]bool{
		{"kms", "https", "kms.us-east-1.amazonaws.com"}:                                    true,
		{"kms", "https", "kms.us-east-1.amazonaws.com:443"}:                                true,
		{"kms", "https", "kms-fips.us-gov-west-1.amazonaws.com"}:                           true,
		{"kms", "https", "kms.cn-north-1.amazonaws.com.cn"}:                                true,
		{"ec2", "https", "ec2.eu-west-1.api.aws"}:                                          true,
		{"sts", "https", "sts.amazonaws.com"}:                                              true,
		{"s3", "https", "a.dotted.bucket.s3.us-east-1.amazonaws.com"}:                      true,
		{"s3", "https", "bucket.s3.dualstack.eu-west-1.amazonaws.com"}:                     true,
		{"s3", "https", "bucket.s3.amazonaws.com"}:                                         true,
		{"s3", "https", "111122223333.s3-control.us-east-1.amazonaws.com"}:                 true,
		{"s3", "https", "b.bucket.vpce-0a1b-c2d3.s3.us-east-1.vpce.amazonaws.com"}:         true,
		{"kms", "https", "vpce-0a1b2c-d3e4.kms.us-east-1.vpce.amazonaws.com"}:              true,
		{"kms", "http", "kms.us-east-1.amazonaws.com"}:                                     false,
		{"kms", "https", "kms.us-east-1.amazonaws.com:8443"}:                               false,
		{"kms", "https", "127.0.0.1:4566"}:                                                 false,
		{"kms", "https", "kms.us-east-1.amazonaws.com.example.com"}:                        false,
		{"kms", "https", "kms.us-east-1.example.com"}:                                      false,
		{"kms", "https", "s3.us-east-1.amazonaws.com"}:                                     false,
		{"kms", "https", "abc123.execute-api.us-east-1.amazonaws.com"}:                     false,
		{"kms", "https", "kms.us-east-1.elb.amazonaws.com"}:                                false,
		{"kms", "https", "evil.s3.us-east-1.amazonaws.com"}:                                false,
		{"kms", "https", "ec2-198-51-100-1.compute-1.amazonaws.com"}:                       false,
		{"kms", "https", "vpce-0a1b2c-d3e4.vpce-svc-0123.us-east-1.vpce.amazonaws.com"}:    false,
		{"s3", "https", "my-lambda-111122223333.s3-object-lambda.us-east-1.amazonaws.com"}: false,
		{"", "https", "kms.us-east-1.amazonaws.com"}:                                       false,
	} {
		require.Equal(t, want, x.isAWS(), "%v", x)
	}
}

func TestRun_NamesEveryEndpointAndWhatIsNotAWS(t *testing.T) {
	t.Parallel()
	s := goodStack(t)
	s.config.Flags = []string{"--only=key"}
	s.config.Only = []string{"key", "account"}
	rep := s.run(t)
	require.Contains(t, rep.Notice, "NOT AWS")
	require.Contains(t, rep.Notice, s.aws.URL())
	var services []string
	for _, e := range rep.Scope.Endpoints {
		require.Equal(t, s.aws.URL(), e.URL)
		require.False(t, e.AWS)
		services = append(services, e.Service)
	}
	require.Equal(t, []string{"kms", "sts"}, services)
	require.Equal(t, []string{"--only=key"}, rep.Scope.Flags)
	require.Equal(t, len(Catalogue), rep.Scope.Checks)
	require.Len(t, rep.Scope.LeftOut, len(Catalogue)-len(rep.Results))
	require.Equal(t, "none: no check of objects was selected", rep.Scope.Objects)
	require.Zero(t, rep.Subject.ObjectCount)
}

func TestRun_StatesWhichObjectsWereSelected(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*Config){
		"1 named object": func(*Config) {},
		"none was named": func(c *Config) { c.Objects = nil },
		`1 named object, and every object with the prefix "logs/"`: func(c *Config) { c.Prefix = aws.String("logs/") },
		"every object of the bucket":                               func(c *Config) { c.Objects, c.Prefix = nil, aws.String("") },
		"none: no check of objects was selected":                   func(c *Config) { c.Skip = []string{"object", "trail"} },
	} {
		cfg := Config{Bucket: bucket, Objects: []string{object}}
		change(&cfg)
		selected, err := cfg.choose()
		require.NoError(t, err)
		require.Equal(t, want, cfg.selection(selected))
	}
}

// A request that the SDK sends itself is recorded however its endpoint was set.
func TestEndpoints_SeeARequestOfAnyClient(t *testing.T) {
	t.Parallel()
	s := goodStack(t)
	e := RecordEndpoints(s.config.AWS.HTTPClient)
	cfg := s.config.AWS.Copy()
	cfg.HTTPClient, cfg.BaseEndpoint = e, nil
	_, err := s3.NewFromConfig(cfg, func(o *s3.Options) { o.BaseEndpoint = aws.String(s.aws.URL()) }).ListBuckets(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, e.list(), 1)
}
