package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/securethecloud/kms-baseline/localaws"
	"github.com/securethecloud/kms-baseline/sandbox/engine"
)

// sample is what one run of a command took.
type sample struct {
	took   time.Duration
	memory int64                    // bytes at the peak, of the whole process tree; 0 where there is no /proc
	calls  int                      // that AWS answered meanwhile
	cpu    map[string]time.Duration // processor time by program; empty where there is no /proc
}

// median is that of each figure.
func median(samples []sample) sample {
	var took []time.Duration
	var memory []int64
	var calls []int
	cpu := map[string][]time.Duration{}
	for _, s := range samples {
		took, memory, calls = append(took, s.took), append(memory, s.memory), append(calls, s.calls)
		for program, t := range s.cpu {
			cpu[program] = append(cpu[program], t)
		}
	}
	m := sample{middle(took), middle(memory), middle(calls), map[string]time.Duration{}}
	for program, t := range cpu {
		m.cpu[program] = middle(t)
	}
	return m
}

// middle is the median; of an even number, the lower of the two. There must be
// a value.
func middle[T time.Duration | int64 | int | float64](values []T) T {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[(len(sorted)-1)/2]
}

// account is an empty AWS account of its own: a localaws in this process, so
// that its memory is in no sample.
type account struct {
	server *localaws.Server
	paths  engine.Paths
}

// newAccount makes an account whose calls log is told of, if it is given.
func (b *bench) newAccount(log ...func(localaws.Call)) (*account, error) {
	dir, err := os.MkdirTemp(b.dir, "account-")
	if err != nil {
		return nil, err
	}
	a := &account{paths: engine.Paths{Dir: dir}}
	o := localaws.Options{Dir: a.paths.State(), CertDir: a.paths.Certs()}
	if len(log) > 0 {
		o.Log = log[0]
	}
	if a.server, err = localaws.Open(o); err != nil {
		return nil, err
	}
	if err := a.server.Start("127.0.0.1:0"); err != nil {
		return nil, errors.Join(err, a.server.Close())
	}
	return a, nil
}

func (a *account) close() error {
	return errors.Join(a.server.Close(), os.RemoveAll(a.paths.Dir))
}

// addr is HOST:PORT of the account's localaws.
func (a *account) addr() string { return strings.TrimPrefix(a.server.URL(), "https://") }

// deleted returns how many baselines' buckets and keys the last command deleted.
func (a *account) deleted() int {
	calls := map[string]int{}
	for _, c := range a.server.Calls() {
		calls[c.Operation] = c.Count
	}
	return min(calls["DeleteBucket"], calls["ScheduleKeyDeletion"])
}

// run runs a command to its end in the account's environment and returns what it
// took and what it printed to its standard output. It is an error if the command
// fails; the error has all that it printed.
func (b *bench) run(ctx context.Context, a *account, name string, args ...string) (sample, string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = b.root
	environment := engine.Env(nil, a.paths, a.server.URL(), a.server.CAFile()).With("PATH", filepath.Dir(b.aws)+string(os.PathListSeparator)+os.Getenv("PATH"))
	cmd.Env = append(environment.Environ(os.Environ()), "WORK="+a.paths.Dir)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute

	a.server.ResetCalls()
	start := time.Now()
	err := cmd.Start()
	var s sample
	if err == nil {
		used := watch(cmd.Process.Pid)
		err = cmd.Wait()
		s.took = time.Since(start)
		s.memory, s.cpu = used()
	}
	for _, c := range a.server.Calls() {
		s.calls += c.Count
	}
	if err != nil {
		err = fmt.Errorf("%s %s: %w\n%s%s", filepath.Base(name), strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return s, stdout.String(), err
}

// sampling is how often memory and processor time are looked at.
const sampling = 10 * time.Millisecond

// watch looks at a process and its descendants until the answer is asked for: the
// highest sum of their resident memory that was seen, and the processor time that
// each program had used when it was last seen. The rusage of the process does not
// say it: what that has as the peak of a child is at least that of its parent at the
// moment of the fork, and it does not tell engine and provider apart.
func watch(pid int) (used func() (peak int64, cpu map[string]time.Duration)) {
	tree := newProcessTree(pid)
	var highest int64
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(sampling)
		defer tick.Stop()
		for {
			highest = max(highest, tree.memory())
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	}()
	return func() (int64, map[string]time.Duration) {
		close(stop)
		<-done
		return highest, tree.cpu()
	}
}

// processTree is a process and its descendants, including those whose parents
// have ended.
type processTree struct {
	ours, others map[int]bool        // by process id; others are looked at once
	last         map[int]processStat // of ours, when they were last seen
}

func newProcessTree(pid int) processTree {
	return processTree{ours: map[int]bool{pid: true}, others: map[int]bool{}, last: map[int]processStat{}}
}

// cpu is the processor time of each program.
func (t processTree) cpu() map[string]time.Duration {
	sum := map[string]time.Duration{}
	for _, s := range t.last {
		sum[s.program] += s.cpu
	}
	return sum
}

func (t processTree) memory() int64 {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0
	}
	stats, unknown := map[int]processStat{}, map[int]processStat{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || t.others[pid] {
			continue
		}
		s, ok := readStat(pid)
		switch {
		case !ok: // ended meanwhile
		case t.ours[pid]:
			stats[pid] = s
		default:
			unknown[pid] = s
		}
	}
	for adopted := true; adopted; {
		adopted = false
		for pid, s := range unknown {
			if t.ours[s.parent] {
				t.ours[pid], stats[pid], adopted = true, s, true
				delete(unknown, pid)
			}
		}
	}
	for pid := range unknown {
		t.others[pid] = true
	}
	maps.Copy(t.last, stats)
	var sum int64
	for _, s := range stats {
		// A child between fork and exec still has its parent's memory, which must
		// not count twice.
		if p, ok := stats[s.parent]; ok && p.stack == s.stack {
			continue
		}
		sum += s.resident
	}
	return sum
}

type processStat struct {
	program  string // its first 15 characters
	parent   int
	cpu      time.Duration
	resident int64  // bytes
	stack    string // address of the stack's bottom: no two programs have the same
}

// clockTick is the unit of processor time in /proc: USER_HZ is 100 on every
// architecture that Go supports.
const clockTick = 10 * time.Millisecond

// readStat reads /proc/PID/stat; see proc(5).
func readStat(pid int) (processStat, bool) {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return processStat{}, false
	}
	// The second field is the program's name in parentheses, with any characters.
	opening, closing := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	fields := strings.Fields(string(data[closing+1:]))
	if opening < 0 || closing < opening || len(fields) < 26 {
		return processStat{}, false
	}
	parent, err1 := strconv.Atoi(fields[1])
	user, err2 := strconv.ParseInt(fields[11], 10, 64)
	system, err3 := strconv.ParseInt(fields[12], 10, 64)
	pages, err4 := strconv.ParseInt(fields[21], 10, 64)
	return processStat{
		program: string(data[opening+1 : closing]), parent: parent, cpu: time.Duration(user+system) * clockTick,
		resident: pages * int64(os.Getpagesize()), stack: fields[25],
	}, errors.Join(err1, err2, err3, err4) == nil
}
