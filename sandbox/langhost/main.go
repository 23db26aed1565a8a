// Command langhost runs Pulumi programs that are written in Go. It does not run
// plugins from source (RunPlugin). The engine starts it as pulumi-language-go. Pulumi does not publish its own host as
// a module; this one is used only where Pulumi's is not on PATH.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/pulumi/pulumi/sdk/v3/go/common/util/rpcutil"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
)

// bailed is the exit code of a program whose error the SDK has already shown.
const bailed = 32

type host struct {
	pulumirpc.UnimplementedLanguageRuntimeServer

	engine string

	mu      sync.Mutex
	running map[*exec.Cmd]bool
}

func main() {
	if err := serve(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serve serves the protocol until a signal, and prints its port for the engine.
func serve(args []string, stdout io.Writer) error {
	flags := flag.NewFlagSet("pulumi-language-go", flag.ContinueOnError)
	flags.String("tracing", "", "accepted and not used")
	flags.String("binary", "", "accepted: Run reads the option from the project")
	flags.String("root", "", "accepted: Run reads it from the request")
	flags.String("buildTarget", "", "accepted: Run reads the option from the project")
	if err := flags.Parse(args); err != nil {
		return err
	}
	h := newHost(flags.Arg(0))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if h.engine != "" {
		// The host must not outlive an engine that was killed.
		watched, cancel := context.WithCancel(ctx)
		defer cancel()
		if err := rpcutil.Healthcheck(watched, h.engine, 5*time.Minute, cancel); err != nil {
			return fmt.Errorf("watching the engine: %w", err)
		}
		ctx = watched
	}
	cancel := make(chan bool)
	go func() { <-ctx.Done(); close(cancel) }()
	served, err := rpcutil.ServeWithOptions(rpcutil.ServeOptions{
		Cancel: cancel,
		Init: func(s *grpc.Server) error {
			pulumirpc.RegisterLanguageRuntimeServer(s, h)
			return nil
		},
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, served.Port)
	return <-served.Done
}

func newHost(engine string) *host {
	return &host{engine: engine, running: map[*exec.Cmd]bool{}}
}

func (h *host) Handshake(_ context.Context, r *pulumirpc.LanguageHandshakeRequest) (*pulumirpc.LanguageHandshakeResponse, error) {
	h.engine = r.EngineAddress
	return &pulumirpc.LanguageHandshakeResponse{}, nil
}

func (h *host) GetPluginInfo(context.Context, *emptypb.Empty) (*pulumirpc.PluginInfo, error) {
	return &pulumirpc.PluginInfo{Version: "0.0.1"}, nil
}

// GetRequiredPackages returns none: the sandbox installs the provider.
func (h *host) GetRequiredPackages(context.Context, *pulumirpc.GetRequiredPackagesRequest) (*pulumirpc.GetRequiredPackagesResponse, error) {
	return &pulumirpc.GetRequiredPackagesResponse{}, nil
}

// GetRequiredPlugins returns none, like GetRequiredPackages.
func (h *host) GetRequiredPlugins(context.Context, *pulumirpc.GetRequiredPluginsRequest) (*pulumirpc.GetRequiredPluginsResponse, error) {
	return &pulumirpc.GetRequiredPluginsResponse{}, nil
}

func (h *host) RuntimeOptionsPrompts(context.Context, *pulumirpc.RuntimeOptionsRequest) (*pulumirpc.RuntimeOptionsResponse, error) {
	return &pulumirpc.RuntimeOptionsResponse{}, nil
}

func (h *host) About(ctx context.Context, _ *pulumirpc.AboutRequest) (*pulumirpc.AboutResponse, error) {
	program, err := exec.LookPath("go")
	if err != nil {
		return nil, fmt.Errorf("finding go: %w", err)
	}
	version, err := exec.CommandContext(ctx, program, "version").Output()
	if err != nil {
		return nil, fmt.Errorf("running go version: %w", err)
	}
	return &pulumirpc.AboutResponse{Executable: program, Version: strings.TrimSpace(string(version))}, nil
}

func (h *host) GetProgramDependencies(ctx context.Context, r *pulumirpc.GetProgramDependenciesRequest) (*pulumirpc.GetProgramDependenciesResponse, error) {
	list := exec.CommandContext(ctx, "go", "list", "-m", "-json", "all")
	list.Dir = r.Info.GetProgramDirectory()
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("listing the program's modules: %w", err)
	}
	var deps pulumirpc.GetProgramDependenciesResponse
	for modules := json.NewDecoder(strings.NewReader(string(out))); ; {
		var m struct {
			Path, Version  string
			Main, Indirect bool
		}
		switch err := modules.Decode(&m); {
		case errors.Is(err, io.EOF):
			return &deps, nil
		case err != nil:
			return nil, fmt.Errorf("reading go list: %w", err)
		}
		if !m.Main && (r.TransitiveDependencies || !m.Indirect) {
			deps.Dependencies = append(deps.Dependencies, &pulumirpc.DependencyInfo{Name: m.Path, Version: m.Version})
		}
	}
}

func (h *host) InstallDependencies(r *pulumirpc.InstallDependenciesRequest, out grpc.ServerStreamingServer[pulumirpc.InstallDependenciesResponse]) error {
	download := exec.CommandContext(out.Context(), "go", "mod", "download")
	download.Dir = r.Info.GetProgramDirectory()
	// One writer for both, so that os/exec writes from one goroutine.
	w := writer(func(p []byte) error {
		return out.Send(&pulumirpc.InstallDependenciesResponse{Stderr: p})
	})
	download.Stdout, download.Stderr = w, w
	if err := download.Run(); err != nil {
		return fmt.Errorf("go mod download: %w", err)
	}
	return nil
}

type writer func([]byte) error

func (w writer) Write(p []byte) (int, error) { return len(p), w(p) }

// Cancel interrupts the running programs.
func (h *host) Cancel(context.Context, *emptypb.Empty) (*emptypb.Empty, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for cmd := range h.running {
		_ = cmd.Process.Signal(os.Interrupt)
	}
	return &emptypb.Empty{}, nil
}

// Run builds and runs a program. The options binary (a program that is already
// built) and buildTarget (where to keep the one built here) are the project's.
func (h *host) Run(ctx context.Context, r *pulumirpc.RunRequest) (*pulumirpc.RunResponse, error) {
	dir := r.Info.GetProgramDirectory()
	if dir == "" {
		dir = r.Pwd
	}
	program, clean, err := build(ctx, dir, r.Info)
	if err != nil {
		return &pulumirpc.RunResponse{Error: err.Error()}, nil
	}
	defer clean()
	config, err := json.Marshal(r.Config)
	if err != nil {
		return nil, err
	}
	secret, err := json.Marshal(r.ConfigSecretKeys)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, r.Args...)
	cmd.Dir = r.Pwd
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(),
		pulumi.EnvProject+"="+r.Project, pulumi.EnvStack+"="+r.Stack, pulumi.EnvOrganization+"="+r.Organization,
		pulumi.EnvPulumiRootDirectory+"="+r.Info.GetRootDirectory(),
		pulumi.EnvConfig+"="+string(config), pulumi.EnvConfigSecretKeys+"="+string(secret),
		pulumi.EnvDryRun+"="+strconv.FormatBool(r.DryRun), pulumi.EnvParallel+"="+strconv.Itoa(int(r.Parallel)),
		pulumi.EnvMonitor+"="+r.MonitorAddress, pulumi.EnvEngine+"="+h.engine,
	)
	err = h.run(cmd)
	var exit *exec.ExitError
	switch {
	case err == nil:
		return &pulumirpc.RunResponse{}, nil
	case errors.As(err, &exit) && exit.ExitCode() == bailed:
		return &pulumirpc.RunResponse{Bail: true}, nil
	case errors.As(err, &exit):
		return &pulumirpc.RunResponse{Error: "the program failed: " + exit.Error()}, nil
	}
	return nil, err
}

// run runs cmd, which Cancel can interrupt.
func (h *host) run(cmd *exec.Cmd) error {
	h.mu.Lock()
	err := cmd.Start()
	if err == nil {
		h.running[cmd] = true
	}
	h.mu.Unlock()
	if err != nil {
		return err
	}
	err = cmd.Wait()
	h.mu.Lock()
	delete(h.running, cmd)
	h.mu.Unlock()
	return err
}

// build returns the program of a project, and a function that removes what only
// this run needs.
func build(ctx context.Context, dir string, info *pulumirpc.ProgramInfo) (program string, clean func(), err error) {
	options := info.GetOptions().AsMap()
	within := func(option string) string {
		path, _ := options[option].(string)
		if path == "" || filepath.IsAbs(path) {
			return path
		}
		return filepath.Join(dir, path)
	}
	clean = func() {}
	if binary := within("binary"); binary != "" {
		if _, err := os.Stat(binary); err != nil {
			return "", nil, fmt.Errorf("the project's option binary: %w", err)
		}
		return binary, clean, nil
	}
	args := []string{"build"}
	program = within("buildTarget")
	if program == "" {
		// No debugger sees a program that only this run needs. To compile and link it
		// without DWARF and symbols takes less time; traces of panics stay complete.
		args = append(args, "-gcflags=all=-dwarf=false", "-ldflags=-s -w")
		tmp, err := os.MkdirTemp("", "pulumi-go-")
		if err != nil {
			return "", nil, err
		}
		clean = func() { _ = os.RemoveAll(tmp) }
		program = filepath.Join(tmp, "program")
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "-o", program, "./"+info.GetEntryPoint())...)
	cmd.Dir = dir
	if text, err := cmd.CombinedOutput(); err != nil {
		clean()
		return "", nil, fmt.Errorf("the program does not build: %w\n%s", err, text)
	}
	return program, clean, nil
}
