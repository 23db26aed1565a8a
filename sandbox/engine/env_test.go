package engine

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func sandboxEnv() Environment {
	tools := &Tools{Bin: "/p/.sandbox/bin", PulumiHome: "/p/.sandbox/pulumi-home"}
	return Env(tools, Paths{Dir: "/p/.sandbox"}, "https://127.0.0.1:4566", "/p/.sandbox/certs/ca.pem")
}

func TestEnv_SetsWhatAClientNeeds(t *testing.T) {
	t.Setenv("PATH", "/usr/bin:/p/.sandbox/bin:/bin")
	t.Setenv("NO_PROXY", "example.org")
	env := sandboxEnv()
	for name, want := range map[string]string{
		"AWS_ENDPOINT_URL":            "https://127.0.0.1:4566",
		"AWS_ENDPOINT_URL_S3_CONTROL": "https://sandbox@localhost:4566",
		"AWS_CA_BUNDLE":               "/p/.sandbox/certs/ca.pem",
		"AWS_ACCESS_KEY_ID":           "123456789012",
		"AWS_SECRET_ACCESS_KEY":       "sandbox",
		"AWS_REGION":                  "us-east-1",
		"AWS_EC2_METADATA_DISABLED":   "true",
		"AWS_CONFIG_FILE":             "/dev/null",
		"AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
		"PULUMI_HOME":                 "/p/.sandbox/pulumi-home",
		"PULUMI_BACKEND_URL":          "file:///p/.sandbox/backend?metadata=skip",
		"PULUMI_CONFIG_PASSPHRASE":    "sandbox",
		"PATH":                        "/p/.sandbox/bin:/usr/bin:/bin",
		"NO_PROXY":                    "example.org,127.0.0.1,localhost",
	} {
		require.Equal(t, want, env.Get(name), name)
	}
}

func TestEnv_WithoutTools_IsAnAWSClients(t *testing.T) {
	t.Parallel()
	env := Env(nil, Paths{}, "http://127.0.0.1:1", "")
	for name := range env.vars {
		require.False(t, strings.HasPrefix(name, "PULUMI_") || name == "PATH" || name == "AWS_CA_BUNDLE", name)
	}
}

func TestEnvironment_Environ_DropsTheCallersAccount(t *testing.T) {
	t.Parallel()
	got := sandboxEnv().Environ([]string{
		"HOME=/home/me", "AWS_PROFILE=prod", "AWS_SESSION_TOKEN=t", "AWS_ENDPOINT_URL_S3=https://s3", "AWS_REGION=eu-west-1",
		"PULUMI_ACCESS_TOKEN=pul", "PULUMI_STACK=prod", "AWSOME=stays",
	})
	joined := "\n" + strings.Join(got, "\n") + "\n"
	for _, gone := range []string{"AWS_PROFILE", "AWS_SESSION_TOKEN", "https://s3", "PULUMI_ACCESS_TOKEN", "PULUMI_STACK", "eu-west-1"} {
		require.NotContains(t, joined, gone)
	}
	require.Contains(t, joined, "\nHOME=/home/me\n")
	require.Contains(t, joined, "\nAWSOME=stays\n")
	require.Equal(t, 1, strings.Count(joined, "\nAWS_REGION="))
}

// TestEnvironment_Exports_SurvivesAShell lets a real shell evaluate the lines.
func TestEnvironment_Exports_SurvivesAShell(t *testing.T) {
	t.Parallel()
	nasty := "it's $HOME `id` \"q\" \\ *\nand a line"
	env := sandboxEnv().With("AWS_CA_BUNDLE", filepath.Join("/home/me", nasty))
	base := []string{"PATH=/usr/bin:/bin", "AWS_PROFILE=prod", "AWS_X;touch${IFS}x=1"}
	script := env.Exports(base) + `printf '%s|%s' "$AWS_CA_BUNDLE" "${AWS_PROFILE-unset}"`
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", script)
	cmd.Env = base[:2]
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Equal(t, filepath.Join("/home/me", nasty)+"|unset", string(out))
	require.NotContains(t, script, "touch", "a name that is no identifier")
}

func TestEnvironment_With_LeavesTheOriginal(t *testing.T) {
	t.Parallel()
	env := sandboxEnv()
	require.Equal(t, "eu-west-1", env.With("AWS_REGION", "eu-west-1").Get("AWS_REGION"))
	require.Equal(t, Region, env.Get("AWS_REGION"))
}

// What runs in this process reaches the sandbox, and no account of the caller's.
func TestEnvironment_Apply(t *testing.T) {
	t.Setenv("AWS_PROFILE", "production")
	t.Setenv("AWS_SESSION_TOKEN", "token")
	t.Setenv("AWS_ENDPOINT_URL", "https://elsewhere.example")
	t.Setenv("HOME", "/home/me")
	env := Env(nil, Paths{Dir: "/p"}, "https://127.0.0.1:4566", "/p/ca.pem")
	for name := range env.vars { // for t to put back afterwards
		t.Setenv(name, "before")
	}
	require.NoError(t, env.Apply())
	for _, name := range []string{"AWS_PROFILE", "AWS_SESSION_TOKEN"} {
		_, set := os.LookupEnv(name)
		require.False(t, set, name)
	}
	require.Equal(t, "https://127.0.0.1:4566", os.Getenv("AWS_ENDPOINT_URL"))
	require.Equal(t, AccountID, os.Getenv("AWS_ACCESS_KEY_ID"))
	require.Equal(t, "/home/me", os.Getenv("HOME"))
}
