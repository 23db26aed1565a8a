package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/blang/semver"
	"github.com/pulumi/pulumi/sdk/v3"
	"github.com/pulumi/pulumi/sdk/v3/go/auto"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/pulumi/pulumi/sdk/v3/go/common/diag"
	"github.com/pulumi/pulumi/sdk/v3/go/common/diag/colors"
	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/config"
	"github.com/pulumi/pulumi/sdk/v3/go/common/tokens"
	"github.com/pulumi/pulumi/sdk/v3/go/common/workspace"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// StackOptions say which stack OpenStack opens.
type StackOptions struct {
	// Tools are the programs, from Install. Required.
	Tools *Tools
	// Env is what they get in their environment, from Env with the same tools.
	// Required.
	Env Environment
	// Paths says where the stack's project and configuration are laid out: below
	// Dir, one folder per stack. Required.
	Paths Paths
	// ProjectFile is the Pulumi.yaml to take the project from. It is read and
	// never written. Without it, the project has nothing but Project as its name.
	ProjectFile string
	// Project is the project's name where there is no ProjectFile.
	Project string
	// Stack is the stack's name. Required.
	Stack string
	// ConfigFile is the Pulumi.STACK.yaml to take configuration from. It is read
	// and never written. The default is none.
	ConfigFile string
	// Config sets configuration over that of ConfigFile. A key without a
	// namespace is the project's. A value that is a JSON object or list is taken
	// as such.
	Config map[string]string
	// Program is run in this process. Required.
	Program pulumi.RunFunc
	// WithoutResults leaves outputs and summary out of the results of operations, makes
	// Outputs and History return nothing, and sends no events of a preview. That saves
	// three starts of the CLI after an up and one after a destroy, and the engine
	// sending the states of all resources in a preview; what the CLI prints is complete.
	WithoutResults bool
	// FastDestroy makes a destroy write the state once, at its end, and not before and
	// after each resource, which is most of its time in a large stack. After one that
	// failed or was killed, operations refresh until one succeeds.
	FastDestroy bool
}

// OpenStack returns the stack, made where it does not exist yet. Once its context
// is done, an operation asks the engine to stop after the steps that are under
// way, and returns when the engine and its children have ended; one more interrupt
// from the terminal and the engine stops at once.
//
// A stack may be opened by several processes; the engine's lock keeps them from
// changing it at the same time.
func OpenStack(ctx context.Context, o StackOptions) (auto.Stack, error) {
	project, err := o.project()
	if err != nil {
		return auto.Stack{}, err
	}
	work := o.Paths.work(project.Name.String(), o.Stack)
	settings, err := o.settings(project, filepath.Join(work, "Pulumi."+o.Stack+".yaml"))
	if err != nil {
		return auto.Stack{}, err
	}
	for _, dir := range []string{work, o.Paths.Backend()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return auto.Stack{}, fmt.Errorf("making the stack's folder: %w", err)
		}
	}
	cli := command{
		program: o.Tools.Pulumi, env: o.Env, withoutResults: o.WithoutResults, fastDestroy: o.FastDestroy,
		file: o.Paths.stackFile(project.Name.String(), o.Stack), destroying: filepath.Join(work, "destroying"),
	}
	options := []auto.LocalWorkspaceOption{
		auto.WorkDir(work),
		auto.Project(*project),
		auto.Stacks(map[string]workspace.ProjectStack{o.Stack: *settings}),
		auto.Pulumi(cli),
	}
	if err := o.Paths.makeStack(project.Name.String(), o.Stack); err != nil {
		return auto.Stack{}, fmt.Errorf("making the stack %s: %w", o.Stack, err)
	}
	stack, err := auto.UpsertStackInlineSource(ctx, o.Stack, project.Name.String(), onOwnCallStack(o.Program), options...)
	if err != nil {
		return auto.Stack{}, fmt.Errorf("opening the stack %s: %w", o.Stack, err)
	}
	return stack, nil
}

// makeStack makes an empty stack, if there is none, as `pulumi stack init` does before
// it adds the salt of the secrets, which an up adds as well. That saves a start of the
// CLI, and its derivation of a key from the passphrase, in each first up.
func (p Paths) makeStack(project, stack string) error {
	state := p.stackFile(project, stack)
	if err := os.MkdirAll(filepath.Dir(state), 0o700); err != nil {
		return err
	}
	for _, file := range []struct{ name, text string }{
		{filepath.Join(p.Backend(), ".pulumi", "meta.yaml"), "version: 1\n"}, // of the layout of the folders
		{state, fmt.Sprintf(`{"version":3,"checkpoint":{"stack":"organization/%s/%s"}}`, project, stack)},
	} {
		if err := createWhole(file.name, file.text); err != nil {
			return err
		}
	}
	return nil
}

// createWhole writes a file, whole or not at all, unless there is one.
func createWhole(name, text string) error {
	if _, err := os.Stat(name); err == nil {
		return nil
	}
	temporary, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".new-")
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name())
	_, err = temporary.WriteString(text)
	if err := errors.Join(err, temporary.Close()); err != nil {
		return err
	}
	err = os.Link(temporary.Name(), name) // unlike a rename, it replaces nothing
	if err == nil || errors.Is(err, fs.ErrExist) {
		return nil
	}
	return os.Rename(temporary.Name(), name) // on a file system without hard links
}

// onOwnCallStack runs a program in a goroutine of its own. The SDK sends its call
// stack with each resource, and the engine keeps it in the state, which it writes at
// each step: the frames below the program, those of the automation API's server and
// of gRPC, were 40 % of the state of the course's stack.
func onOwnCallStack(program pulumi.RunFunc) pulumi.RunFunc {
	return func(ctx *pulumi.Context) error {
		ended := make(chan error, 1)
		go func() {
			err := errors.New("the program ended without returning") // runtime.Goexit
			defer func() {
				if r := recover(); r != nil {
					err = fmt.Errorf("the program panicked: %v\n%s", r, debug.Stack())
				}
				ended <- err
			}()
			err = program(ctx)
		}()
		return <-ended
	}
}

func (o StackOptions) project() (*workspace.Project, error) {
	if o.ProjectFile == "" {
		return &workspace.Project{
			Name:    tokens.PackageName(o.Project),
			Runtime: workspace.NewProjectRuntimeInfo("go", nil),
		}, nil
	}
	project, err := workspace.LoadProject(o.ProjectFile)
	if err != nil {
		return nil, fmt.Errorf("reading the project: %w", err)
	}
	return project, nil
}

// settings are the stack's configuration. The salt of its secrets is kept from
// the laid-out file of the last time, unless the given file has one.
func (o StackOptions) settings(project *workspace.Project, laidOut string) (*workspace.ProjectStack, error) {
	sink := diag.DefaultSink(io.Discard, io.Discard, diag.FormatOptions{Color: colors.Never})
	settings := &workspace.ProjectStack{Config: config.Map{}}
	if o.ConfigFile != "" {
		if _, err := os.Stat(o.ConfigFile); err != nil {
			return nil, fmt.Errorf("reading the stack's configuration: %w", err)
		}
		var err error
		if settings, err = workspace.LoadProjectStack(sink, project, o.ConfigFile); err != nil {
			return nil, fmt.Errorf("reading the stack's configuration: %w", err)
		}
	}
	if settings.EncryptionSalt == "" {
		if last, err := workspace.LoadProjectStack(sink, project, laidOut); err == nil {
			settings.EncryptionSalt = last.EncryptionSalt
		}
	}
	for name, value := range o.Config {
		if !strings.Contains(name, ":") {
			name = project.Name.String() + ":" + name
		}
		key, err := config.ParseKey(name)
		if err != nil {
			return nil, fmt.Errorf("configuration key %q: %w", name, err)
		}
		if strings.HasPrefix(value, "{") || strings.HasPrefix(value, "[") {
			settings.Config[key] = config.NewObjectValue(value)
		} else {
			settings.Config[key] = config.NewValue(value)
		}
	}
	return settings, nil
}

// command runs the pulumi CLI for the Automation API. In place of the API's own
// it gives the CLI the sandbox's environment only, and a process group of its
// own, so that an interrupt from the terminal reaches it once and through us.
type command struct {
	program        string
	env            Environment
	file           string // the stack's state
	destroying     string // there from the beginning of a fast destroy until the state is true again
	withoutResults bool
	fastDestroy    bool
}

// needless returns the answer to a command that need not run: the Automation API
// selects the stack that it names in every command, and asks for results.
func (c command) needless(args []string) (answer string, ok bool) {
	if len(args) < 2 || args[0] != "stack" {
		return "", false
	}
	switch args[1] {
	case "select":
		_, err := os.Stat(c.file)
		return "", err == nil
	case "output":
		return "{}", c.withoutResults
	case "history":
		return "[]", c.withoutResults
	}
	return "", false
}

// Version is the SDK's: Install puts no older CLI in place.
func (c command) Version() semver.Version { return sdk.Version }

// Run runs a CLI command without ever asking its user anything.
func (c command) Run(ctx context.Context, workdir string, stdin io.Reader, stdout, stderr []io.Writer, env []string, args ...string) (printed, printedErr string, code int, err error) {
	if answer, ok := c.needless(args); ok {
		return answer, "", 0, nil
	}
	args, variables, err := c.recoverable(args)
	if err != nil {
		return "", "", -1, err
	}
	env = append(env, variables...)
	if args[0] == "preview" {
		// The engine asks the provider for the differences of one resource after the other
		// otherwise. Source: https://www.pulumi.com/docs/iac/cli/environment-variables/
		env = append(env, "PULUMI_PARALLEL_DIFF=true")
	}
	if rest, address := c.withoutEvents(args); address != "" {
		args = rest
		defer func() { err = errors.Join(err, sendSummary(context.WithoutCancel(ctx), address)) }()
	}
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(ctx, c.program, append([]string{"--non-interactive"}, args...)...)
	cmd.Dir = workdir
	cmd.Env = append(c.env.Environ(os.Environ()), append(env, "PULUMI_AUTOMATION_API=true")...)
	cmd.Stdin = stdin
	cmd.Stdout = io.MultiWriter(append(stdout, &out)...)
	cmd.Stderr = io.MultiWriter(append(stderr, &errOut)...)
	OwnGroup(cmd)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }

	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-ctx.Done():
		case <-done:
			return
		}
		again := make(chan os.Signal, 1)
		signal.Notify(again, os.Interrupt, syscall.SIGTERM)
		defer signal.Stop(again)
		select {
		case <-again:
			_ = cmd.Process.Signal(os.Interrupt)
		case <-done:
		}
	}()
	err = cmd.Run()
	code = -1
	if cmd.ProcessState != nil {
		code = cmd.ProcessState.ExitCode()
	}
	if errors.Is(err, os.ErrNotExist) {
		err = fmt.Errorf("%w: run `make install`", err)
	}
	if err == nil {
		err = c.recovered(args)
	}
	return out.String(), errOut.String(), code, err
}

// recoverable returns the arguments of an operation and variables for it. Where the
// engine was killed during a fast destroy, the state has resources that are gone: after
// every fast destroy that did not succeed, operations refresh.
func (c command) recoverable(args []string) ([]string, []string, error) {
	if !slices.Contains([]string{"up", "preview", "destroy"}, args[0]) {
		return args, nil, nil
	}
	if _, err := os.Stat(c.destroying); err == nil && !slices.Contains(args, "--refresh") {
		args = append(slices.Clone(args), "--refresh")
	}
	if !c.fastDestroy || args[0] != "destroy" || slices.Contains(args, "--preview-only") {
		return args, nil, nil
	}
	if err := os.WriteFile(c.destroying, []byte("a destroy has begun and has not succeeded yet\n"), 0o600); err != nil {
		return nil, nil, fmt.Errorf("recording that a destroy begins: %w", err)
	}
	return args, []string{"PULUMI_SKIP_CHECKPOINTS=true"}, nil
}

// recovered ends what recoverable has begun, after a successful operation that has
// refreshed or destroyed the whole stack.
func (c command) recovered(args []string) error {
	partial := func(arg string) bool {
		return arg == "--preview-only" || strings.HasPrefix(arg, "--target") || strings.HasPrefix(arg, "--exclude")
	}
	if !slices.Contains([]string{"up", "refresh", "destroy"}, args[0]) || slices.ContainsFunc(args, partial) {
		return nil
	}
	if err := os.Remove(c.destroying); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("recording that the state is true: %w", err)
	}
	return nil
}

// withoutEvents takes the event log out of the arguments of a preview whose results are
// not asked for, and returns the address that it was for. The Automation API needs of
// it only the summary at its end.
func (c command) withoutEvents(args []string) (rest []string, address string) {
	const flag = "--event-log"
	i := slices.Index(args, flag)
	if !c.withoutResults || i < 0 || i+1 == len(args) || args[0] != "preview" {
		return args, ""
	}
	address, ok := strings.CutPrefix(args[i+1], "tcp://")
	if !ok {
		return args, ""
	}
	return slices.Delete(slices.Clone(args), i, i+2), address
}

// sendSummary sends the Automation API's server at address the event that it waits for.
func sendSummary(ctx context.Context, address string) error {
	event, err := json.Marshal(apitype.EngineEvent{SummaryEvent: &apitype.SummaryEvent{}})
	if err != nil {
		return err
	}
	connection, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	stream, err := pulumirpc.NewEventsClient(connection).StreamEvents(ctx)
	if err == nil {
		err = stream.Send(&pulumirpc.EventRequest{Event: string(event)})
	}
	if err == nil {
		_, err = stream.CloseAndRecv()
	}
	if err != nil {
		return fmt.Errorf("ending the preview's events: %w", err)
	}
	return nil
}
