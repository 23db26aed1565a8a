package engine

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// Where Pulumi publishes its releases.
const (
	cliReleases    = "https://github.com/pulumi/pulumi/releases/download"
	pluginReleases = "https://get.pulumi.com/releases/plugins"
)

// network downloads official releases. A site that could not be reached is not
// asked again in the same run.
type network struct {
	cli, plugins string // the sites: cliReleases and pluginReleases, but for tests
	down         map[string]bool
}

func newNetwork(cli, plugins string) *network {
	return &network{cli: cli, plugins: plugins, down: map[string]bool{}}
}

// connectTimeout is how long a site may take to answer at all: a machine that
// reaches it does so in a fraction of this, and one that does not should build.
const connectTimeout = 4 * time.Second

// downloadTimeout bounds a download as a whole.
const downloadTimeout = 10 * time.Minute

var client = &http.Client{
	Transport: &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: connectTimeout}).DialContext,
		TLSHandshakeTimeout:   connectTimeout,
		ResponseHeaderTimeout: 2 * connectTimeout,
	},
}

// get opens a URL. An error wraps errUnavailable.
func (n *network) get(ctx context.Context, method, url string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return nil, err
	}
	if n.down[req.URL.Host] {
		return nil, fmt.Errorf("%w: %s could not be reached before", errUnavailable, req.URL.Host)
	}
	resp, err := client.Do(req)
	if err != nil {
		n.down[req.URL.Host] = true
		return nil, fmt.Errorf("%w: %w", errUnavailable, err)
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("%w: %s answers %s", errUnavailable, url, resp.Status)
	}
	return resp, nil
}

// downloadCLI unpacks the official release, the pulumi program and the language
// hosts beside it, to the folder dst.
func (n *network) downloadCLI(ctx context.Context, dst string) error {
	ctx, cancel := context.WithTimeout(ctx, downloadTimeout)
	defer cancel()
	arch := map[string]string{"amd64": "x64", "arm64": "arm64"}[runtime.GOARCH]
	if arch == "" || runtime.GOOS == "windows" {
		return fmt.Errorf("there is no archive for %s/%s: %w", runtime.GOOS, runtime.GOARCH, errUnavailable)
	}
	archive := fmt.Sprintf("pulumi-%s-%s-%s.tar.gz", engineVersion, runtime.GOOS, arch)
	sums, err := n.get(ctx, http.MethodGet, fmt.Sprintf("%s/%s/pulumi-%s-checksums.txt", n.cli, engineVersion, strings.TrimPrefix(engineVersion, "v")))
	if err != nil {
		return err
	}
	defer sums.Body.Close()
	want, err := checksumOf(sums.Body, archive)
	if err != nil {
		return err
	}
	tmp, err := n.fetch(ctx, fmt.Sprintf("%s/%s/%s", n.cli, engineVersion, archive), want, filepath.Dir(dst))
	if err != nil {
		return err
	}
	defer tmp.Close()
	return unpackCLI(tmp, dst)
}

// fetch downloads a file with a known SHA-256 into a new file in dir, and returns
// it open at its beginning.
func (n *network) fetch(ctx context.Context, url, want, dir string) (*os.File, error) {
	resp, err := n.get(ctx, http.MethodGet, url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	tmp, err := os.CreateTemp(dir, "archive-")
	if err != nil {
		return nil, err
	}
	h := sha256.New()
	_, err = io.Copy(io.MultiWriter(tmp, h), resp.Body)
	if err != nil {
		err = fmt.Errorf("downloading %s: %w: %w", path.Base(url), err, errUnavailable)
	} else if got := hex.EncodeToString(h.Sum(nil)); got != want {
		err = fmt.Errorf("%s has the checksum %s, and the release says %s: try again, and if it stays so, do not trust the network", path.Base(url), got, want)
	} else {
		_, err = tmp.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, tmp.Close(), os.Remove(tmp.Name()))
	}
	return tmp, nil
}

// checksumOf finds a file's SHA-256 in a release's list of them.
func checksumOf(list io.Reader, file string) (string, error) {
	lines := bufio.NewScanner(list)
	for lines.Scan() {
		if f := strings.Fields(lines.Text()); len(f) == 2 && f[1] == file {
			return f[0], nil
		}
	}
	if err := lines.Err(); err != nil {
		return "", fmt.Errorf("reading the release's checksums: %w: %w", err, errUnavailable)
	}
	return "", fmt.Errorf("the release's checksums do not name %s: %w", file, errUnavailable)
}

// unpackCLI unpacks the programs of a release's archive, which are all in one
// folder, to dst.
func unpackCLI(archive io.Reader, dst string) error {
	unzipped, err := gzip.NewReader(archive)
	if err != nil {
		return fmt.Errorf("reading the release's archive: %w", err)
	}
	if err := os.Mkdir(dst, 0o755); err != nil {
		return err
	}
	files := tar.NewReader(unzipped)
	for {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the release's archive: %w", err)
		}
		if header.Typeflag != tar.TypeReg {
			continue
		}
		out, err := os.OpenFile(filepath.Join(dst, path.Base(header.Name)), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
		if err != nil {
			return err
		}
		if _, err := io.Copy(out, files); err != nil { //nolint:gosec // its checksum was right
			return errors.Join(err, out.Close())
		}
		if err := out.Close(); err != nil {
			return err
		}
	}
}

// downloadProvider lets the pulumi CLI install the official plugin into a home
// of its own, and takes it from there.
func (n *network) downloadProvider(ctx context.Context, pulumi, dst string) error {
	ctx, cancel := context.WithTimeout(ctx, downloadTimeout)
	defer cancel()
	// The CLI tries for minutes; a look at the site takes seconds.
	resp, err := n.get(ctx, http.MethodHead, fmt.Sprintf("%s/pulumi-resource-aws-%s-%s-%s.tar.gz", n.plugins, providerVersion, runtime.GOOS, runtime.GOARCH))
	if err != nil {
		return err
	}
	resp.Body.Close()
	home := filepath.Join(filepath.Dir(dst), "home")
	cmd := exec.CommandContext(ctx, pulumi, "plugin", "install", "resource", "aws", providerVersion)
	cmd.Env = append(os.Environ(), "PULUMI_HOME="+home, "PULUMI_SKIP_UPDATE_CHECK=true")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("pulumi plugin install: %w: %w\n%s", errUnavailable, err, strings.TrimSpace(string(out)))
	}
	return os.Rename(filepath.Join(home, "plugins", "resource-aws-"+providerVersion), dst)
}
