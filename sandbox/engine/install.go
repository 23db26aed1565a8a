package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/lockedfile"
	"golang.org/x/term"
)

// Tools are the programs that Install has put in place.
type Tools struct {
	Bin        string // folder of the pulumi CLI, to stand first on PATH
	Pulumi     string // the pulumi CLI
	PulumiHome string // PULUMI_HOME: its plugins folder holds the AWS provider
	// Hosts are the folders of the language hosts, to stand last on PATH: the hosts
	// of an official CLI come first. A folder may be missing.
	Hosts []string

	PulumiSource   string // where the CLI is from: "PATH", "download" or "modules"
	ProviderSource string // where the provider is from: "download" or "modules"
}

// Install puts the Pulumi engine and the AWS provider in root/.sandbox (and, beside
// an engine that is built from modules, the host for Go programs), where
// root is the folder of this project's go.mod. Each comes from the first of its
// sources that works: the official CLI on PATH, the official release, or a build
// from Go modules, which takes minutes.
//
// What is in place already, and was made from the same versions and the same
// sources, is left as it is: then Install takes milliseconds and runs nothing. It
// may run in several processes at once, and may be killed at any time. A line per
// step, with the time since the start, goes to progress; what is in place already
// is no step.
func Install(ctx context.Context, root string, progress io.Writer) (*Tools, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	in := newInstaller(root, progress)
	net := newNetwork(cliReleases, pluginReleases)
	cli, err := engineArtifact(root, net)
	if err != nil {
		return nil, err
	}
	provider, err := providerArtifact(root, net)
	if err != nil {
		return nil, err
	}
	// One after the other: at once, both would compile the packages that they share.
	cliSource, err := in.ensure(ctx, cli)
	if err != nil {
		return nil, err
	}
	providerSource, err := in.ensure(ctx, provider)
	if err != nil {
		return nil, err
	}
	if cliSource == "modules" { // the only CLI without language hosts
		host, err := goHostArtifact(root)
		if err != nil {
			return nil, err
		}
		if _, err := in.ensure(ctx, host); err != nil {
			return nil, err
		}
	}
	tools := ToolsIn(root)
	tools.PulumiSource, tools.ProviderSource = cliSource, providerSource
	withoutLog(tools.PulumiHome)
	return tools, nil
}

// withoutLog keeps the CLI from logging each command into a file of PULUMI_HOME, as if
// it were to be debugged, which takes a quarter of its processor time in a preview. The
// CLI has no option for that, and goes on without where it cannot make the folder. If
// the folder cannot be replaced, the CLI is only slower.
func withoutLog(home string) {
	logs := filepath.Join(home, "logs")
	if info, err := os.Lstat(logs); err == nil && info.Mode().IsRegular() {
		return
	}
	_ = os.RemoveAll(logs)
	_ = os.WriteFile(logs, []byte("The sandbox keeps no logs of the Pulumi CLI, whose folder this would be: see docs/troubleshooting.md.\n"), 0o600)
}

// ToolsIn says where Install puts the programs, whether or not it has run. The
// sources are empty.
func ToolsIn(root string) *Tools {
	bin := filepath.Join(Dir(root), "bin")
	return &Tools{
		Bin:        bin,
		Pulumi:     filepath.Join(bin, "pulumi"),
		PulumiHome: filepath.Join(Dir(root), "pulumi-home"),
		Hosts:      []string{filepath.Join(Dir(root), goHostFolder), filepath.Join(Dir(root), yamlHostFolder)},
	}
}

// Dir is the folder of everything that the sandbox makes in a project.
func Dir(root string) string { return filepath.Join(root, ".sandbox") }

// artifact is something to install: a folder of .sandbox.
type artifact struct {
	name    string // for people
	path    string // where it goes, below .sandbox
	program string // what proves that it is there, below path
	key     string // changes with everything that it is made from
	sources []source
	built   *buildCount // how far its build is; nil if it is not built
}

// source is one way to get an artifact.
type source struct {
	name string // for the stamp and for Tools
	verb string // for the progress line: "building it from Go modules"
	// get makes the artifact at dst, which does not exist and is on the same
	// file system as its place. errUnavailable says to try the next source.
	get func(ctx context.Context, dst string) error
}

// errUnavailable is wrapped by a source that cannot be had on this machine.
var errUnavailable = errors.New("not available")

// stamp records what is installed. It is written last.
type stamp struct {
	Key    string `json:"key"`
	Source string `json:"source"`
}

type installer struct {
	dir      string
	terminal bool // progress is a terminal
	start    time.Time

	mu       sync.Mutex
	progress io.Writer
}

func newInstaller(root string, progress io.Writer) *installer {
	f, ok := progress.(*os.File)
	return &installer{dir: Dir(root), progress: progress, terminal: ok && term.IsTerminal(int(f.Fd())), start: time.Now()}
}

func (in *installer) say(format string, args ...any) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.terminal {
		fmt.Fprint(in.progress, clearLine)
	}
	fmt.Fprintf(in.progress, "[%6.1fs] %s\n", time.Since(in.start).Seconds(), fmt.Sprintf(format, args...))
}

// clearLine removes what watch has written into the terminal's last line.
const clearLine = "\r\033[K"

// ensure installs an artifact unless it is there, and returns its source's name.
func (in *installer) ensure(ctx context.Context, a artifact) (string, error) {
	if source, ok := in.installed(a); ok {
		return source, nil
	}
	if err := os.MkdirAll(in.dir, 0o755); err != nil {
		return "", fmt.Errorf("making the sandbox's folder: %w", err)
	}
	unlock, err := in.lock(ctx)
	if err != nil {
		return "", err
	}
	defer unlock()
	if source, ok := in.installed(a); ok { // by the process that held the lock
		return source, nil
	}
	if err := in.clean(); err != nil {
		return "", err
	}
	defer in.watch(a)()
	return in.install(ctx, a)
}

// install installs an artifact from the first of its sources that works, and returns
// the source's name.
func (in *installer) install(ctx context.Context, a artifact) (string, error) {
	for _, s := range a.sources {
		began := time.Now()
		in.say("%s: %s", a.name, s.verb)
		err := in.place(ctx, a, s)
		switch {
		case err == nil:
			in.say("%s: done in %.1fs", a.name, time.Since(began).Seconds())
			return s.name, nil
		case ctx.Err() != nil:
			return "", fmt.Errorf("installing the %s: %w", a.name, context.Cause(ctx))
		case errors.Is(err, errUnavailable):
			in.say("%s: %v", a.name, err)
		case errors.Is(err, syscall.ENOSPC):
			return "", fmt.Errorf("installing the %s: the disk is full: free 6 GB and run it again: %w", a.name, err)
		default:
			return "", fmt.Errorf("installing the %s: %w", a.name, err)
		}
	}
	return "", fmt.Errorf("installing the %s: none of its sources worked; "+
		"install the Pulumi CLI %s or newer from https://www.pulumi.com/docs/install/, or give this machine access to a Go module proxy", a.name, engineVersion)
}

// watch shows how far an artifact is until it is stopped: on a terminal in one line
// that is written again every second, otherwise in a line each minute.
func (in *installer) watch(a artifact) (stop func()) {
	every := time.Minute
	if in.terminal {
		every = time.Second
	}
	tick := time.NewTicker(every)
	done := make(chan struct{})
	var said sync.WaitGroup
	said.Go(func() {
		for {
			select {
			case <-tick.C:
				in.report(a)
			case <-done:
				return
			}
		}
	})
	return func() {
		tick.Stop()
		close(done)
		said.Wait()
		if in.terminal { // an error may follow
			fmt.Fprint(in.progress, clearLine)
		}
	}
}

// report shows how far an artifact is.
func (in *installer) report(a artifact) {
	if !in.terminal {
		in.say("%s: %s", a.name, cmp.Or(a.built.String(), "downloading"))
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	fmt.Fprintf(in.progress, "%s[%6.1fs] %s %s", clearLine, time.Since(in.start).Seconds(), a.name, cmp.Or(a.built.bar(), "downloading"))
}

// installed tells whether the artifact is there as its stamp says.
func (in *installer) installed(a artifact) (source string, ok bool) {
	data, err := os.ReadFile(in.stampFile(a))
	if err != nil {
		return "", false
	}
	var s stamp
	if json.Unmarshal(data, &s) != nil || s.Key != a.key {
		return "", false
	}
	// Through the link, where the artifact is one to a program elsewhere.
	info, err := os.Stat(filepath.Join(in.dir, a.path, a.program))
	return s.Source, err == nil && info.Mode().IsRegular()
}

// place gets the artifact beside its place, moves it there and stamps it.
func (in *installer) place(ctx context.Context, a artifact, s source) error {
	tmp, err := os.MkdirTemp(in.dir, tmpPrefix)
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	made := filepath.Join(tmp, filepath.Base(a.path))
	if err := s.get(ctx, made); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(made, a.program)); err != nil {
		return fmt.Errorf("%s left no program: %w", s.verb, err)
	}
	dst := filepath.Join(in.dir, a.path)
	if err := os.Remove(in.stampFile(a)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.RemoveAll(dst); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
		return err
	}
	if err := os.Rename(made, dst); err != nil {
		return err
	}
	data, err := json.Marshal(stamp{Key: a.key, Source: s.name})
	if err != nil {
		return err
	}
	stampTmp := filepath.Join(tmp, "stamp")
	if err := os.WriteFile(stampTmp, data, 0o644); err != nil {
		return err
	}
	return os.Rename(stampTmp, in.stampFile(a))
}

func (in *installer) stampFile(a artifact) string {
	return filepath.Join(in.dir, strings.ReplaceAll(a.name, " ", "-")+".stamp")
}

const tmpPrefix = "tmp-"

// clean removes what killed runs have left. The lock must be held.
func (in *installer) clean() error {
	left, err := filepath.Glob(filepath.Join(in.dir, tmpPrefix+"*"))
	if err != nil {
		return err
	}
	for _, dir := range left {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("removing what an earlier run left: %w", err)
		}
	}
	return nil
}

// lock keeps other processes from installing in the same folder. The system
// lets go of it when this process ends, however it ends.
func (in *installer) lock(ctx context.Context) (unlock func(), err error) {
	type result struct {
		unlock func()
		err    error
	}
	got := make(chan result, 1)
	go func() {
		unlock, err := lockedfile.MutexAt(filepath.Join(in.dir, "install.lock")).Lock()
		got <- result{unlock, err}
	}()
	notice := time.NewTimer(time.Second)
	defer notice.Stop()
	for {
		select {
		case r := <-got:
			if r.err != nil {
				return nil, fmt.Errorf("locking the sandbox's folder: %w", r.err)
			}
			return r.unlock, nil
		case <-notice.C:
			in.say("waiting for another install in %s", in.dir)
		case <-ctx.Done():
			go func() { // a later reader must get it
				if r := <-got; r.err == nil {
					r.unlock()
				}
			}()
			return nil, fmt.Errorf("waiting for another install: %w", context.Cause(ctx))
		}
	}
}
