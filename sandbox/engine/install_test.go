package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// fake is an artifact whose sources are functions of the test.
func fake(key string, gets ...func(dst string) error) artifact {
	a := artifact{name: "fake tool", path: filepath.Join("some", "place"), program: "prog", key: key}
	for i, get := range gets {
		a.sources = append(a.sources, source{
			name: fmt.Sprintf("source%d", i+1), verb: "trying",
			get: func(_ context.Context, dst string) error { return get(dst) },
		})
	}
	return a
}

// writes is a source that makes a program with the given content.
func writes(content string, count *atomic.Int32) func(string) error {
	return func(dst string) error {
		count.Add(1)
		if err := os.Mkdir(dst, 0o755); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dst, "prog"), []byte(content), 0o755)
	}
}

func content(t *testing.T, in *installer) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(in.dir, "some", "place", "prog"))
	require.NoError(t, err)
	return string(data)
}

func TestEnsure_InstallsOnce(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	var built atomic.Int32
	a := fake("k1", writes("one", &built))
	for range 3 {
		source, err := newInstaller(root, io.Discard).ensure(t.Context(), a)
		require.NoError(t, err)
		require.Equal(t, "source1", source)
	}
	require.EqualValues(t, 1, built.Load())
}

func TestEnsure_InstallsAgain(t *testing.T) {
	t.Parallel()
	program := filepath.Join("some", "place", "prog")
	for name, spoil := range map[string]func(t *testing.T, dir string, a *artifact){
		"when what it is made from has changed": func(_ *testing.T, _ string, a *artifact) { a.key = "k2" },
		"when the program is gone": func(t *testing.T, dir string, _ *artifact) {
			t.Helper()
			require.NoError(t, os.Remove(filepath.Join(dir, program)))
		},
		"when the program is a dead link": func(t *testing.T, dir string, _ *artifact) {
			t.Helper()
			require.NoError(t, os.Remove(filepath.Join(dir, program)))
			require.NoError(t, os.Symlink("nowhere", filepath.Join(dir, program)))
		},
		"when a run was killed before it wrote the stamp": func(t *testing.T, dir string, a *artifact) {
			t.Helper()
			require.NoError(t, os.Remove((&installer{dir: dir}).stampFile(*a)))
		},
		"when the stamp is half written": func(t *testing.T, dir string, a *artifact) {
			t.Helper()
			require.NoError(t, os.WriteFile((&installer{dir: dir}).stampFile(*a), []byte(`{"key":`), 0o644))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := newInstaller(t.TempDir(), io.Discard)
			var first, second atomic.Int32
			_, err := in.ensure(t.Context(), fake("k1", writes("one", &first)))
			require.NoError(t, err)
			a := fake("k1", writes("two", &second))
			spoil(t, in.dir, &a)
			_, err = in.ensure(t.Context(), a)
			require.NoError(t, err)
			require.EqualValues(t, 1, second.Load())
			require.Equal(t, "two", content(t, in))
		})
	}
}

func TestEnsure_TakesTheFirstSourceThatWorks(t *testing.T) {
	t.Parallel()
	var progress bytes.Buffer
	in := newInstaller(t.TempDir(), &progress)
	var built, unused atomic.Int32
	source, err := in.ensure(t.Context(), fake("k",
		func(string) error { return fmt.Errorf("%w: no such site", errUnavailable) },
		writes("two", &built),
		writes("three", &unused),
	))
	require.NoError(t, err)
	require.Equal(t, "source2", source)
	require.Zero(t, unused.Load())
	require.Regexp(t, `^\[ +\d+\.\ds\] fake tool: trying\n\[ +\d+\.\ds\] fake tool: not available: no such site\n`, progress.String())
}

func TestEnsure_SaysWhatToDo(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"no source":           {errUnavailable, "none of its sources worked; install the Pulumi CLI"},
		"full disk":           {fmt.Errorf("writing: %w", syscall.ENOSPC), "the disk is full: free 6 GB"},
		"anything else":       {errors.New("boom"), "installing the fake tool: boom"},
		"nothing was written": {nil, "left no program"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := newInstaller(t.TempDir(), io.Discard)
			_, err := in.ensure(t.Context(), fake("k", func(string) error { return c.err }))
			require.ErrorContains(t, err, c.want)
			left, err := filepath.Glob(filepath.Join(in.dir, tmpPrefix+"*"))
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
}

func TestEnsure_LeavesTheOldWhereTheNewFails(t *testing.T) {
	t.Parallel()
	in := newInstaller(t.TempDir(), io.Discard)
	var built atomic.Int32
	_, err := in.ensure(t.Context(), fake("k1", writes("one", &built)))
	require.NoError(t, err)
	_, err = in.ensure(t.Context(), fake("k2", func(dst string) error {
		return errors.Join(os.Mkdir(dst, 0o755), errors.New("half way"))
	}))
	require.ErrorContains(t, err, "half way")
	require.Equal(t, "one", content(t, in))
}

func TestEnsure_RemovesWhatAKilledRunLeft(t *testing.T) {
	t.Parallel()
	in := newInstaller(t.TempDir(), io.Discard)
	left := filepath.Join(in.dir, tmpPrefix+"123", "place")
	require.NoError(t, os.MkdirAll(left, 0o755))
	var built atomic.Int32
	_, err := in.ensure(t.Context(), fake("k", writes("one", &built)))
	require.NoError(t, err)
	require.NoDirExists(t, left)
}

func TestReport_NamesTheArtifact(t *testing.T) {
	t.Parallel()
	var progress bytes.Buffer
	in := newInstaller(t.TempDir(), &progress)
	in.report(artifact{name: "one", built: &buildCount{total: 4, built: 4}})
	in.report(artifact{name: "two"})
	require.Regexp(t, `^\[ +\d+\.\ds\] one: all 4 packages compiled, linking\n\[ +\d+\.\ds\] two: downloading\n$`, progress.String())
	progress.Reset()
	in.terminal = true
	in.report(artifact{name: "one", built: &buildCount{total: 4, built: 4}})
	require.Regexp(t, "^\r\x1b\\[K\\[ +\\d+\\.\\ds\\] one \\[#{10}\\]$", progress.String())
	progress.Reset()
	in.watch(artifact{name: "one"})()
	require.Equal(t, clearLine, progress.String(), "no bar is left beside an error")
}

func TestEnsure_TwoAtOnceBuildOnce(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	var built atomic.Int32
	a := fake("k", writes("one", &built))
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() { _, errs[i] = newInstaller(root, io.Discard).ensure(t.Context(), a) })
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	require.EqualValues(t, 1, built.Load())
}

func TestEnsure_StopsWaitingForTheLock(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	building, release := make(chan struct{}), make(chan struct{})
	var built atomic.Int32
	held := make(chan error, 1)
	go func() {
		_, err := newInstaller(root, io.Discard).ensure(t.Context(), fake("k", func(dst string) error {
			close(building)
			<-release
			return writes("one", &built)(dst)
		}))
		held <- err
	}()
	<-building
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := newInstaller(root, onWrite(cancel)).ensure(ctx, fake("k", writes("two", &built)))
	require.ErrorIs(t, err, context.Canceled)
	close(release)
	require.NoError(t, <-held)
}

// onWrite is a writer that calls itself: the first progress is that ensure waits.
type onWrite func()

func (w onWrite) Write(b []byte) (int, error) {
	w()
	return len(b), nil
}

func TestGoError(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		output string
		want   string
		is     error
	}{
		"no network": {`go: example.org/x@v1.0.0: Get "https://proxy/x": dial tcp: lookup proxy: no such host`, "could not reach the Go module proxy", nil},
		"proxy off":  {"go: module lookup disabled by GOPROXY=off", "could not reach the Go module proxy", nil},
		"disk full":  {"write /tmp/x: no space left on device", "go build", syscall.ENOSPC},
		"other":      {strings.Repeat("noise\n", 40) + "undefined: x", "undefined: x", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			failed := errors.New("exit status 1")
			err := goError("build", c.output, failed)
			require.ErrorContains(t, err, c.want)
			if c.is == nil {
				c.is = failed
			}
			require.ErrorIs(t, err, c.is)
			require.LessOrEqual(t, strings.Count(err.Error(), "\n"), 16)
		})
	}
}

func TestArtifacts_HaveStableKeys(t *testing.T) {
	t.Parallel()
	first, err := providerArtifact("../..", newNetwork("", ""))
	require.NoError(t, err)
	second, err := providerArtifact("../..", newNetwork("", ""))
	require.NoError(t, err)
	require.Equal(t, first.key, second.key)
	cli, err := engineArtifact("../..", newNetwork("", ""))
	require.NoError(t, err)
	require.NotEqual(t, first.key, cli.key)
}

func TestHashModule_ChangesWithEachFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, content string) string {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644))
		key, err := hashModule(dir, "v1")
		require.NoError(t, err)
		return key
	}
	base := write("go.mod", "module x")
	require.NotEqual(t, base, write("main.go", "package main"))
	withMain := write("main.go", "package main")
	require.Equal(t, withMain, write("main_test.go", "package main"), "a test does not change the build")
	require.NotEqual(t, withMain, write("main.go", "package main // changed"))
	key, err := hashModule(dir, "v2")
	require.NoError(t, err)
	require.NotEqual(t, withMain, key)
}

// TestVersions_Agree keeps the pinned versions and the modules together.
func TestVersions_Agree(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]string{
		"../pulumi/go.mod":         "github.com/pulumi/pulumi/pkg/v3 " + engineVersion,
		"../provider/resources.go": `version = "` + strings.TrimPrefix(providerVersion, "v") + `"`,
		"../../go.mod":             "github.com/pulumi/pulumi-aws/sdk/v6 " + providerVersion,
	} {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Contains(t, string(data), want, file)
	}
}
