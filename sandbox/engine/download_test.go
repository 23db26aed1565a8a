package engine

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// release serves a release's checksums and archive, whatever the platform.
func release(t *testing.T, archive []byte, checksum string) *httptest.Server {
	t.Helper()
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/pulumi-"+strings.TrimPrefix(engineVersion, "v")+"-checksums.txt"):
			for _, platform := range []string{"linux-x64", "linux-arm64", "darwin-x64", "darwin-arm64"} {
				fmt.Fprintf(w, "%s  pulumi-%s-%s.tar.gz\n", checksum, engineVersion, platform)
			}
		case strings.HasSuffix(r.URL.Path, ".tar.gz"):
			_, _ = w.Write(archive)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(site.Close)
	return site
}

func archiveOf(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var buf bytes.Buffer
	zipped := gzip.NewWriter(&buf)
	tarred := tar.NewWriter(zipped)
	require.NoError(t, tarred.WriteHeader(&tar.Header{Name: "pulumi/", Typeflag: tar.TypeDir, Mode: 0o755}))
	for name, content := range files {
		require.NoError(t, tarred.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(content))}))
		_, err := tarred.Write([]byte(content))
		require.NoError(t, err)
	}
	require.NoError(t, tarred.Close())
	require.NoError(t, zipped.Close())
	return buf.Bytes()
}

func TestDownloadCLI(t *testing.T) {
	t.Parallel()
	good := archiveOf(t, map[string]string{"pulumi/pulumi": "cli", "pulumi/pulumi-language-go": "host"})
	sum := fmt.Sprintf("%x", sha256.Sum256(good))

	t.Run("unpacks the release", func(t *testing.T) {
		t.Parallel()
		dst := filepath.Join(t.TempDir(), "bin")
		require.NoError(t, newNetwork(release(t, good, sum).URL, "").downloadCLI(t.Context(), dst))
		for name, want := range map[string]string{"pulumi": "cli", "pulumi-language-go": "host"} {
			got, err := os.ReadFile(filepath.Join(dst, name))
			require.NoError(t, err)
			require.Equal(t, want, string(got))
		}
	})
	t.Run("refuses another checksum", func(t *testing.T) {
		t.Parallel()
		dst := filepath.Join(t.TempDir(), "bin")
		err := newNetwork(release(t, append(good, 0), sum).URL, "").downloadCLI(t.Context(), dst)
		require.ErrorContains(t, err, "do not trust the network")
		require.NotErrorIs(t, err, errUnavailable, "a wrong checksum must not be passed over")
		require.NoDirExists(t, dst)
	})
	t.Run("writes nothing outside its folder", func(t *testing.T) {
		t.Parallel()
		evil := archiveOf(t, map[string]string{"../../evil": "x"})
		dst := filepath.Join(t.TempDir(), "a", "b", "bin")
		require.NoError(t, os.MkdirAll(filepath.Dir(dst), 0o755))
		require.NoError(t, newNetwork(release(t, evil, fmt.Sprintf("%x", sha256.Sum256(evil))).URL, "").downloadCLI(t.Context(), dst))
		require.FileExists(t, filepath.Join(dst, "evil"))
	})
	t.Run("has no such release", func(t *testing.T) {
		t.Parallel()
		site := httptest.NewServer(http.NotFoundHandler())
		t.Cleanup(site.Close)
		err := newNetwork(site.URL, "").downloadCLI(t.Context(), filepath.Join(t.TempDir(), "bin"))
		require.ErrorIs(t, err, errUnavailable)
		require.ErrorContains(t, err, "404")
	})
}

func TestNetwork_AsksADeadSiteOnce(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	site := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1); panic(http.ErrAbortHandler) }))
	t.Cleanup(site.Close)
	net := newNetwork(site.URL, site.URL)
	dst := filepath.Join(t.TempDir(), "bin")
	require.ErrorIs(t, net.downloadCLI(t.Context(), dst), errUnavailable)
	before := asked.Load()
	err := net.downloadProvider(t.Context(), "pulumi", dst)
	require.ErrorIs(t, err, errUnavailable)
	require.ErrorContains(t, err, "could not be reached before")
	require.Equal(t, before, asked.Load())
}

func TestDownloadProvider_LetsTheCLIInstallIt(t *testing.T) {
	t.Parallel()
	site := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(site.Close)
	pulumi := filepath.Join(t.TempDir(), "pulumi")
	plugin := `#!/bin/sh
[ "$*" = "plugin install resource aws ` + providerVersion + `" ] || exit 1
mkdir -p "$PULUMI_HOME/plugins/resource-aws-` + providerVersion + `"
echo plugin > "$PULUMI_HOME/plugins/resource-aws-` + providerVersion + `/pulumi-resource-aws"
`
	require.NoError(t, os.WriteFile(pulumi, []byte(plugin), 0o755))
	dst := filepath.Join(t.TempDir(), "resource-aws-"+providerVersion)
	require.NoError(t, newNetwork("", site.URL).downloadProvider(t.Context(), pulumi, dst))
	require.FileExists(t, filepath.Join(dst, providerProgram))
}
