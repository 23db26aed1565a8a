package main

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/securethecloud/kms-baseline/localaws"
)

func TestRun_WrongFlags(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "benchmarks.md")
	require.NoError(t, os.WriteFile(file, []byte("no markers\n"), 0o600))
	figures := filepath.Join(t.TempDir(), "benchmarks.json")
	require.NoError(t, os.WriteFile(figures, []byte("no figures\n"), 0o600))
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"argument", []string{"course"}, `unexpected argument "course"`},
		{"no run", []string{"-runs", "0"}, "-runs 0: at least 1 is needed"},
		{"group", []string{"-only", "course,speed"}, `there is no group "speed", only course, compile, localaws, verify, first, scale, terraform`},
		{"size", []string{"-sizes", "1,none"}, `"none" is not a number from 1 to 1000`},
		{"pair", []string{"-pairs", "0"}, `-pairs 0: "0" is not a number from 1 to 1000`},
		{"figures", []string{"-json", figures}, "reading the figures of earlier runs"},
		{"no file", []string{"-write", file + ".none"}, "no such file"},
		{"no markers", []string{"-write", file}, "the markers are missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var stdout, stderr bytes.Buffer
			require.Equal(t, 2, run(t.Context(), c.args, &stdout, &stderr))
			require.Contains(t, stderr.String(), c.want)
			require.Empty(t, stdout.String(), "nothing is measured")
		})
	}
}

func TestWriteBetween(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "benchmarks.md")
	begin, end := markers("course")
	other := "\n<!-- make bench writes scale from here -->\nstays\n<!-- to here: scale -->\n"
	require.NoError(t, os.WriteFile(file, []byte("above\n"+begin+"\nold\n"+end+other), 0o600))
	for range 2 { // the second time changes nothing
		require.NoError(t, writeBetween(file, "course", "new\n"))
		document, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Equal(t, "above\n"+begin+"\n\nnew\n\n"+end+other, string(document))
	}
}

// TestDocument: every group can be written into the document of this repository.
func TestDocument(t *testing.T) {
	t.Parallel()
	document, err := os.ReadFile("../../docs/benchmarks.md")
	require.NoError(t, err)
	for _, name := range groupNames() {
		_, err = between(string(document), name, "")
		require.NoError(t, err)
	}
}

// TestData_KeepsOtherGroups: a run of one group leaves the figures of the others.
func TestData_KeepsOtherGroups(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "benchmarks.json")
	d, err := readData(file)
	require.NoError(t, err)
	d.Scale = []point{{"up", 1, 2.5}}
	require.NoError(t, d.write(file))
	d, err = readData(file)
	require.NoError(t, err)
	d.Terraform = []comparison{{Operation: "up", Pulumi: 1, Terraform: 2}}
	require.NoError(t, d.write(file))
	d, err = readData(file)
	require.NoError(t, err)
	require.Equal(t, []point{{"up", 1, 2.5}}, d.Scale)
	require.InDelta(t, 0.5, d.Terraform[0].ratio(), 0)
}

// TestConfiguration: the first baseline has the Region's EBS defaults, and no block
// is declared twice.
func TestConfiguration(t *testing.T) {
	t.Parallel()
	text, err := configuration(3)
	require.NoError(t, err)
	blocks := regexp.MustCompile(`(?m)^resource "(\w+)" "([\w-]+)"`).FindAllStringSubmatch(string(text), -1)
	require.Len(t, blocks, 13+2*9, "thirteen, and nine for each baseline more")
	seen := map[string]bool{}
	for _, block := range blocks {
		require.False(t, seen[block[0]], block[0])
		seen[block[0]] = true
	}
}

// TestBreakDown: every moment belongs to one part, and overlaps count once.
func TestBreakDown(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }
	f := breakDown(start, 10*time.Second, []step{
		{Name: "component", Start: at(0), End: at(10)},
		{Name: "key", Provider: true, Start: at(2), End: at(6)},
		{Name: "policy", Provider: true, Start: at(5), End: at(7)},
		{Name: "alias", Provider: true, Start: at(8), End: at(9)},
		{Name: "failed", Provider: true, Start: at(1)},
	}, []localaws.Call{
		{Service: "kms", Operation: "ListAliases", Time: at(1), Took: 500 * time.Millisecond}, // of the start
		{Service: "kms", Operation: "CreateKey", Time: at(2), Took: time.Second},
		{Service: "kms", Operation: "GetKeyPolicy", Time: at(5), Took: time.Second},
		{Service: "kms", Operation: "GetKeyPolicy", Time: at(5.5), Took: time.Second},
	})
	require.InDelta(t, 2, f.BeforeSteps, 1e-6)
	require.InDelta(t, 2.5, f.InCalls, 1e-6)
	require.InDelta(t, 3.5, f.InProvider, 1e-6)
	require.InDelta(t, 2, f.Rest, 1e-6)
	require.Len(t, f.Steps, 3)
	require.Len(t, f.Calls, 4)
}

func TestChanges(t *testing.T) {
	t.Parallel()
	require.Equal(t, map[string]int{"s3:PutBucketPolicy": 2, "kms:CreateKey": 1}, changes([]localaws.CallCount{
		{Service: "s3", Operation: "PutBucketPolicy", Count: 2}, {Service: "kms", Operation: "CreateKey", Count: 1},
		{Service: "s3", Operation: "GetBucketPolicy", Count: 9}, {Service: "s3", Operation: "HeadBucket", Count: 9}, {Service: "kms", Operation: "DescribeKey", Count: 9},
	}))
}

func TestTable(t *testing.T) {
	t.Parallel()
	x := table{title: "Title", header: []string{"what", "target", ""}, notes: []string{"Note."}}
	x.add("a", "at most 2.50 s", met(false))
	x.add("b", "", "")
	require.Equal(t, `### Title

| what | target |  |
|---|---|---|
| a | at most 2.50 s | **missed** |
| b |  |  |

Note.
`, x.String())
}

func TestParseBench(t *testing.T) {
	t.Parallel()
	r := parseBench(`goos: linux
cpu: Some CPU
BenchmarkPutObject/SSE-KMS-8         	    1220	   1144394 ns/op	       873.8 requests/s
BenchmarkPutObject/SSE-KMS-8         	    1220	   1144394 ns/op	       900 requests/s
BenchmarkPutObject/SSE-KMS-8         	    1220	   1144394 ns/op	       100 requests/s
BenchmarkKeys 	       1	4544378787 ns/op	        10.00 lookups
PASS
`)
	rate, err := r.get("PutObject/SSE-KMS", "requests/s")
	require.NoError(t, err)
	require.InDelta(t, 873.8, rate, 0)
	lookups, err := r.get("Keys", "lookups")
	require.NoError(t, err)
	require.InDelta(t, 10, lookups, 0)
	_, err = r.get("Keys", "MB")
	require.EqualError(t, err, "BenchmarkKeys reported no MB")
}

func TestMedian(t *testing.T) {
	t.Parallel()
	cpu := func(engine, program time.Duration) map[string]time.Duration {
		return map[string]time.Duration{"pulumi": engine, "bench": program}
	}
	require.Equal(t, sample{took: 2, memory: 20, calls: 7, cpu: cpu(2, 5)},
		median([]sample{{3, 10, 7, cpu(1, 5)}, {1, 30, 7, cpu(2, 6)}, {2, 20, 9, cpu(3, 4)}}))
}

func TestByRole(t *testing.T) {
	t.Parallel()
	require.Equal(t, map[string]float64{roleProgram: 1, roleEngine: 6, roleProvider: 24}, byRole(map[string]time.Duration{
		"bench": time.Second, "pulumi": 2 * time.Second, "terraform": 4 * time.Second,
		"pulumi-resource": 8 * time.Second, "terraform-provi": 16 * time.Second, // as Linux cuts them
	}))
}

func TestSlope(t *testing.T) {
	t.Parallel()
	require.InDelta(t, 2, slope([]float64{1, 10, 50, 100}, []float64{5, 23, 103, 203}), 1e-9)
}

// TestProcessTree: a descendant counts, also once its parent has ended, and
// this process, which is not a descendant here, does not.
func TestProcessTree(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("there is no /proc here to read memory from")
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `sh -c 'sleep 600 & echo $!; read wait'; read wait`)
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	line := make([]byte, 16)
	n, err := stdout.Read(line)
	require.NoError(t, err)
	sleeper, err := strconv.Atoi(string(bytes.TrimSpace(line[:n])))
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = syscall.Kill(sleeper, syscall.SIGKILL)
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
	})
	tree := newProcessTree(cmd.Process.Pid)
	require.Positive(t, tree.memory())
	require.Len(t, tree.ours, 3)
	require.True(t, tree.others[os.Getpid()])
	before, ok := readStat(sleeper)
	require.True(t, ok)
	_, err = stdin.Write([]byte("\n")) // the middle one ends
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		s, ok := readStat(sleeper)
		return ok && s.parent != before.parent
	}, 10*time.Second, 10*time.Millisecond)
	require.Positive(t, tree.memory())
	require.True(t, tree.ours[sleeper], "the orphan is still ours")
	require.Equal(t, []string{"sh", "sleep"}, slices.Sorted(maps.Keys(tree.cpu())))
}
