package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pulumi/pulumi/sdk/v3/go/auto"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optpreview"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"
	"github.com/pulumi/pulumi/sdk/v3/go/pulumi/config"
	"github.com/stretchr/testify/require"
)

// realTools are the installed programs: these tests run the real engine, with
// programs that need no provider.
func realTools(t *testing.T) *Tools {
	t.Helper()
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	tools := ToolsIn(root)
	if _, err := os.Stat(tools.Pulumi); err != nil {
		t.Skip("the Pulumi engine is not installed: make install")
	}
	return tools
}

func open(t *testing.T, dir string, program pulumi.RunFunc) auto.Stack {
	t.Helper()
	tools := realTools(t)
	paths := Paths{Dir: dir}
	configFile := filepath.Join(dir, "given.yaml")
	require.NoError(t, os.WriteFile(configFile, []byte("config:\n  small:from: file\n"), 0o444))
	stack, err := OpenStack(t.Context(), StackOptions{
		Tools:      tools,
		Env:        Env(tools, paths, "https://127.0.0.1:1", ""),
		Paths:      paths,
		Project:    "small",
		Stack:      "test",
		ConfigFile: configFile,
		Config:     map[string]string{"set": "directly"},
		Program:    program,
	})
	require.NoError(t, err)
	return stack
}

func TestOpenStack_RunsAProgram(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	program := func(ctx *pulumi.Context) error {
		ctx.Export("from", pulumi.String(config.Require(ctx, "from")))
		ctx.Export("set", pulumi.ToSecret(pulumi.String(config.Require(ctx, "set"))))
		return nil
	}
	stack := open(t, dir, program)
	result, err := stack.Up(t.Context())
	require.NoError(t, err)
	require.Equal(t, "file", result.Outputs["from"].Value)
	require.Equal(t, "directly", result.Outputs["set"].Value)
	require.True(t, result.Outputs["set"].Secret)

	// Another time, as another process would: the secrets can still be read.
	require.NoError(t, os.Remove(filepath.Join(dir, "given.yaml")))
	stack = open(t, dir, program)
	_, err = stack.Preview(t.Context(), optpreview.Refresh(), optpreview.ExpectNoChanges())
	require.NoError(t, err)
	outputs, err := stack.Outputs(t.Context())
	require.NoError(t, err)
	require.Equal(t, "directly", outputs["set"].Value)

	_, err = stack.Destroy(t.Context())
	require.NoError(t, err)
	given, err := os.ReadFile(filepath.Join(dir, "given.yaml"))
	require.NoError(t, err)
	require.Equal(t, "config:\n  small:from: file\n", string(given), "the given file is read, not written")
}

// TestOpenStack_StartsNoNeedlessCommand: without results, each operation starts the
// CLI once, the first one too. None asks for events.
func TestOpenStack_StartsNoNeedlessCommand(t *testing.T) {
	t.Parallel()
	tools, dir := *realTools(t), t.TempDir()
	log, wrapper := filepath.Join(dir, "commands"), filepath.Join(dir, "pulumi")
	script := fmt.Sprintf("#!/bin/sh\nprintf '%%s ' \"$2\" >> %[1]s\ncase \"$*\" in *--event-log*) printf 'with events ' >> %[1]s;; esac\nexec %[2]s \"$@\"\n", ShellQuote(log), ShellQuote(tools.Pulumi))
	require.NoError(t, os.WriteFile(wrapper, []byte(script), 0o700))
	tools.Pulumi = wrapper
	for _, operation := range []func(auto.Stack) error{
		func(s auto.Stack) error { _, err := s.Up(t.Context()); return err },
		func(s auto.Stack) error { _, err := s.Preview(t.Context()); return err },
		func(s auto.Stack) error { _, err := s.Destroy(t.Context()); return err },
	} {
		s, err := OpenStack(t.Context(), StackOptions{
			Tools: &tools, Env: Env(&tools, Paths{Dir: dir}, "https://127.0.0.1:1", ""), Paths: Paths{Dir: dir}, Project: "small", Stack: "test",
			WithoutResults: true, Program: func(*pulumi.Context) error { return nil },
		})
		require.NoError(t, err)
		require.NoError(t, operation(s))
	}
	started, err := os.ReadFile(log)
	require.NoError(t, err)
	require.Equal(t, "up preview destroy ", string(started))
}

// TestWithoutLog: the engine runs without a folder for its logs, and does not mention it.
func TestWithoutLog(t *testing.T) {
	t.Parallel()
	tools, dir := *realTools(t), t.TempDir()
	tools.PulumiHome = filepath.Join(dir, "home")
	logs := filepath.Join(tools.PulumiHome, "logs")
	require.NoError(t, os.MkdirAll(logs, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(logs, "of before"), nil, 0o600))
	for range 2 { // the second time changes nothing
		withoutLog(tools.PulumiHome)
	}
	s, err := OpenStack(t.Context(), StackOptions{
		Tools: &tools, Env: Env(&tools, Paths{Dir: dir}, "https://127.0.0.1:1", ""), Paths: Paths{Dir: dir}, Project: "small", Stack: "test",
		Program: func(*pulumi.Context) error { return nil },
	})
	require.NoError(t, err)
	up, err := s.Up(t.Context())
	require.NoError(t, err)
	require.NotContains(t, up.StdOut+up.StdErr, "log")
	require.FileExists(t, logs)
}

// TestOpenStack_KeepsTheServersFramesOutOfTheState: the engine records the call stack
// of each resource, and writes it at each step.
func TestOpenStack_KeepsTheServersFramesOutOfTheState(t *testing.T) {
	t.Parallel()
	stack := open(t, t.TempDir(), func(ctx *pulumi.Context) error {
		var component struct{ pulumi.ResourceState }
		return ctx.RegisterComponentResource("test:index:Component", "one", &component)
	})
	_, err := stack.Up(t.Context())
	require.NoError(t, err)
	state, err := stack.Export(t.Context())
	require.NoError(t, err)
	_, component, found := strings.Cut(string(state.Deployment), "test:index:Component::one")
	require.True(t, found)
	require.Contains(t, component, "sourcePosition")
	require.NotContains(t, component, "grpc")
}

func TestOpenStack_ReportsAPanicOfTheProgram(t *testing.T) {
	t.Parallel()
	stack := open(t, t.TempDir(), func(*pulumi.Context) error { panic("a nil map") })
	_, err := stack.Up(t.Context())
	require.ErrorContains(t, err, "the program panicked: a nil map")
}

func TestOpenStack_ReportsTheProgramsError(t *testing.T) {
	t.Parallel()
	stack := open(t, t.TempDir(), func(*pulumi.Context) error { return fmt.Errorf("a setting is missing") })
	_, err := stack.Up(t.Context())
	require.ErrorContains(t, err, "a setting is missing")
}

func TestOpenStack_StopsTheEngineWithItsContext(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	started := make(chan struct{})
	stack := open(t, dir, func(ctx *pulumi.Context) error {
		close(started)
		<-ctx.Context().Done()
		return ctx.Context().Err()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-started; cancel() }()
	_, err := stack.Up(ctx)
	require.Error(t, err)
	require.Error(t, ctx.Err(), "it was stopped and did not fail by itself: %v", err)

	// Nothing of it is left: no process in its folder (as far as the system tells
	// by /proc), and no lock.
	require.Eventually(t, func() bool {
		folders, err := filepath.Glob("/proc/[0-9]*/cwd")
		return err == nil && !slices.ContainsFunc(folders, func(link string) bool {
			at, err := os.Readlink(link)
			return err == nil && strings.HasPrefix(at, dir)
		})
	}, time.Minute, 100*time.Millisecond)
	require.NoError(t, os.Remove(filepath.Join(dir, "given.yaml")))
	again := open(t, dir, func(*pulumi.Context) error { return nil })
	_, err = again.Up(t.Context())
	require.NoError(t, err)
}
