package components

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestServicePresets(t *testing.T) {
	t.Parallel()
	key, err := parseKeyARN("k", ownKey)
	require.NoError(t, err)
	var all []string
	for name, preset := range servicePresets {
		require.True(t, strings.HasPrefix(preset.source, "https://docs.aws.amazon.com/"), name)
		if name == "logs" {
			name = "logs.us-east-1"
		}
		all = append(all, name+".amazonaws.com")
	}
	document, err := keyPolicy{services: append(all, "backup.amazonaws.com")}.document(key)
	require.NoError(t, err)
	requireGolden(t, "key-policy-services.golden.json", indented(t, document))
}

func TestPresetOf(t *testing.T) {
	t.Parallel()
	for service, sid := range map[string]string{
		"cloudtrail.amazonaws.com": "CloudTrail", "logs.eu-west-1.amazonaws.com": "CloudWatchLogs", "delivery.logs.amazonaws.com": "LogDelivery",
		"s3.cn-north-1.amazonaws.com.cn": "S3Notifications", "backup.amazonaws.com": "", "cloudtrailx.amazonaws.com": "", "x.delivery.logs.amazonaws.com": "",
	} {
		preset, ok := presetOf(service)
		require.Equal(t, sid, preset.sid, service)
		require.Equal(t, sid != "", ok, service)
	}
}
