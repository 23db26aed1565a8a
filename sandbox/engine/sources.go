package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/blang/semver"
)

const (
	engineVersion   = "v3.259.0" // as in sandbox/pulumi/go.mod, and the SDK's version
	providerVersion = "v6.83.0"  // as the pulumi-aws SDK asks for

	engineBuildPackage = "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
)

func engineArtifact(root string, net *network) (artifact, error) {
	module := filepath.Join(root, "sandbox", "pulumi")
	key, err := hashModule(module, engineVersion)
	var count buildCount
	return artifact{
		built:   &count,
		name:    "pulumi engine",
		path:    "bin",
		program: "pulumi",
		key:     key,
		sources: []source{
			{name: "PATH", verb: "looking for the official CLI on PATH", get: linkOfficialCLI},
			{name: "download", verb: "downloading the official release " + engineVersion, get: net.downloadCLI},
			{name: "modules", verb: "building it from Go modules (about 3 minutes the first time)", get: func(ctx context.Context, dst string) error {
				version := "-X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=" + strings.TrimPrefix(engineVersion, "v")
				return goBuild(ctx, &count, module, filepath.Join(dst, "pulumi"), version, engineBuildPackage)
			}},
		},
	}, err
}

func providerArtifact(root string, net *network) (artifact, error) {
	module := filepath.Join(root, "sandbox", "provider")
	kept := fmt.Sprint(providerVersion, upstreamFork, bridge, ec2Client, glueClient, keptServices)
	key, err := hashModule(module, kept)
	var count buildCount
	return artifact{
		built:   &count,
		name:    "aws provider",
		path:    filepath.Join("pulumi-home", "plugins", "resource-aws-"+providerVersion),
		program: providerProgram,
		key:     key,
		sources: []source{
			{name: "download", verb: "downloading the official plugin " + providerVersion, get: func(ctx context.Context, dst string) error {
				return net.downloadProvider(ctx, filepath.Join(Dir(root), "bin", "pulumi"), dst)
			}},
			{name: "modules", verb: "building it from Go modules, over Terraform AWS " + upstreamRelease + " (a minute or two the first time)", get: func(ctx context.Context, dst string) error {
				if err := fetchUpstream(ctx, root, filepath.Dir(dst)); err != nil {
					return err
				}
				return goBuild(ctx, &count, module, filepath.Join(dst, providerProgram), "", ".")
			}},
		},
	}, err
}

const providerProgram = "pulumi-resource-aws"

// hashModule is the key of what is built from a nested module: its files, and
// whatever else the build depends on.
func hashModule(dir, more string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, more, runtime.GOOS, runtime.GOARCH)
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(name, "_test.go") {
			return err
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		fmt.Fprintf(h, "%s %x\n", filepath.ToSlash(rel), sha256.Sum256(data))
		return err
	})
	if err != nil {
		return "", fmt.Errorf("reading the module that the sandbox builds from: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// linkOfficialCLI links to the first CLI on PATH that is no older than the SDK
// and of the same major version. What a sandbox has put on PATH does not count.
func linkOfficialCLI(ctx context.Context, dst string) error {
	refused := []error{errors.New("no official pulumi on PATH")}
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if filepath.Base(filepath.Dir(dir)) == Dir("") {
			continue
		}
		found, err := exec.LookPath(filepath.Join(dir, "pulumi"))
		if err != nil {
			continue
		}
		if err := checkCLI(ctx, found); err != nil {
			refused = append(refused, err)
			continue
		}
		if found, err = filepath.Abs(found); err != nil {
			return err
		}
		if err := os.Mkdir(dst, 0o755); err != nil {
			return err
		}
		return os.Symlink(found, filepath.Join(dst, "pulumi"))
	}
	return fmt.Errorf("%w: %w", errUnavailable, errors.Join(refused...))
}

// checkCLI tells what is wrong with a pulumi program, if anything is.
func checkCLI(ctx context.Context, program string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "version")
	cmd.Env = append(os.Environ(), "PULUMI_SKIP_UPDATE_CHECK=true")
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s version: %w", program, err)
	}
	version, err := semver.ParseTolerant(string(out))
	if err != nil {
		return fmt.Errorf("%s version: %q is not a version: %w", program, strings.TrimSpace(string(out)), err)
	}
	want, err := semver.ParseTolerant(engineVersion)
	if err != nil {
		return err
	}
	if version.Major != want.Major || version.LT(want) {
		return fmt.Errorf("%s is v%s, not %s or newer", program, version, engineVersion)
	}
	return nil
}

// runGo runs the go command and returns what it printed. What it prints to stderr
// also goes to watch, unless that is nil.
func runGo(ctx context.Context, dir string, env []string, watch io.Writer, args ...string) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "GOWORK=off"), env...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if watch != nil {
		cmd.Stderr = io.MultiWriter(&stderr, watch)
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	err := cmd.Run()
	if err == nil {
		return stdout.Bytes(), nil
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if errors.Is(err, exec.ErrNotFound) {
		return nil, errors.New("there is no go command on PATH: install Go 1.26 or newer from https://go.dev/dl/")
	}
	return nil, goError(args[0], stdout.String()+stderr.String(), err)
}

var (
	noNetwork = regexp.MustCompile(`dial tcp|no such host|i/o timeout|connection refused|TLS handshake|network is unreachable|module lookup disabled|proxyconnect`)
	diskFull  = regexp.MustCompile(`no space left on device`)
)

// goError turns what the go command printed into what to do about it.
func goError(command, output string, err error) error {
	output = strings.TrimSpace(output)
	if lines := strings.Split(output, "\n"); len(lines) > 15 {
		output = strings.Join(append([]string{"..."}, lines[len(lines)-15:]...), "\n")
	}
	switch {
	case diskFull.MatchString(output):
		return fmt.Errorf("go %s: %w\n%s", command, syscall.ENOSPC, output)
	case noNetwork.MatchString(output):
		return fmt.Errorf("go %s could not reach the Go module proxy (see `go env GOPROXY`): connect to the network, or set GOPROXY to a proxy that this machine reaches, and run it again: %w\n%s", command, err, output)
	}
	return fmt.Errorf("go %s: %w\n%s", command, err, output)
}
