package main

import (
	"bufio"
	"context"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// What localaws and verify measure of themselves is in their packages' own
// benchmarks; here they are run, and held to the targets.

// measureLocalAWS measures the server alone.
func measureLocalAWS(ctx context.Context, b *bench) ([]table, error) {
	b.say("localaws: PutObject")
	puts, err := b.goBench(ctx, "./localaws", "PutObject", "-benchtime", "1s", "-count", fmt.Sprint(b.runs))
	if err != nil {
		return nil, err
	}
	t := table{title: "localaws", header: []string{"what", "measured", "target", ""}}
	for _, row := range []struct {
		benchmark, name string
		target          float64
	}{
		{"PutObject/SSE-KMS", "PutObject of 1 KB with SSE-KMS, 8 clients", 1000},
		{"PutObject/SSE-KMS-BucketKey", "the same with a Bucket Key", 0},
		{"PutObject/SSE-S3", "the same with SSE-S3", 0},
	} {
		rate, err := puts.get(row.benchmark, "requests/s")
		if err != nil {
			return nil, err
		}
		target, sign := "", ""
		if row.target > 0 {
			target, sign = fmt.Sprintf("%.0f/s", row.target), met(rate >= row.target)
		}
		t.add(row.name, fmt.Sprintf("%.0f/s", rate), target, sign)
	}
	b.say("localaws: LookupEvents over 100,000 events")
	lookups, err := b.goBench(ctx, "./localaws", "LookupEvents", "-benchtime", "200ms")
	if err != nil {
		return nil, err
	}
	slowest, by := 0.0, ""
	for name := range lookups {
		ns, err := lookups.get(name, "ns/op")
		if err != nil {
			return nil, err
		}
		if ns > slowest {
			slowest, by = ns, strings.TrimPrefix(name, "LookupEvents/")
		}
	}
	const target = 50 * time.Millisecond
	t.add("LookupEvents over 100,000 events, by the slowest attribute ("+by+")", fmt.Sprintf("%.2f ms", slowest/1e6), "under "+seconds(target), met(slowest < float64(target)))
	t.notes = []string{fmt.Sprintf("PutObject: over HTTPS, each answered once it is on the disk, median of %d. LookupEvents: the mean of many, without HTTPS and without the limit of 2 a second.", b.runs)}
	return []table{t}, nil
}

// measureVerify measures verify with many objects and with many keys.
func measureVerify(ctx context.Context, b *bench) ([]table, error) {
	b.say("verify: 100,000 objects, which are written first, 500 keys, 1,000,000 events and 1,000,000 objects from each source; this takes a quarter of an hour")
	r, err := b.goBench(ctx, "./verify", "(Objects|Keys|LogFiles|Organization|Sources|Inventory)", "-benchtime", "1x")
	if err != nil {
		return nil, err
	}
	var missing error
	get := func(benchmark, unit string) float64 {
		v, err := r.get(benchmark, unit)
		if err != nil {
			missing = err
		}
		return v
	}
	objects, limit, memory := get("Objects", "objects/s"), get("Objects", "localaws-HEAD/s"), get("Objects", "MB")
	lookups, took := get("Keys", "lookups"), get("Keys", "ns/op")
	accounts, roles, calls, reportMemory := get("Organization", "accounts/s"), get("Organization", "AssumeRole/s"), get("Organization", "calls/s"), get("Organization", "MB")
	events, perCPU, filesMemory := get("LogFiles", "events/s"), get("LogFiles", "events/cpu-s"), get("LogFiles", "MB")
	if missing != nil {
		return nil, missing
	}
	t := table{title: "verify with much to do", header: []string{"what", "measured", "target", ""}}
	t.add("100,000 objects checked, 32 calls at once", fmt.Sprintf("%.0f/s", objects), fmt.Sprintf("half of localaws's own rate, %.0f HEAD/s", limit), met(objects >= limit/2))
	t.add("its peak memory", fmt.Sprintf("%.0f MB", memory), "under 100 MB", met(memory < 100))
	// The first lookup waits for none.
	rate := (lookups - 1) / (took / float64(time.Second))
	t.add("500 keys proven from the event history", fmt.Sprintf("%s, %.0f lookups, %.2f/s", seconds(time.Duration(took)), lookups, rate), "2 lookups a second", met(math.Round(rate*100) <= 200))
	t.add("1,000,000 events from log files, validated; 10 keys proven", fmt.Sprintf("%.0f/s (%.0f for each second of processor time)", events, perCPU), "200,000/s on 2 cores", met(events >= 200_000))
	t.add("its peak memory", fmt.Sprintf("%.0f MB", filesMemory), "under 200 MB", met(filesMemory < 200))
	t.add("`verify org`: key and EBS defaults of 1,000 accounts in 4 Regions, 16 accounts at once, 30 ms for each call", fmt.Sprintf("%.0f accounts/s, %.0f calls/s", accounts, calls), "", "")
	t.add("its calls of AssumeRole", fmt.Sprintf("%.0f/s", roles), "under 600/s, the quota of STS", met(roles < 600))
	t.add("its peak memory", fmt.Sprintf("%.0f MB", reportMemory), "", "")
	t.notes = []string{"Once each. localaws's own rate is that of 32 clients which do nothing but send HEAD for one object and read the answer; they, verify and localaws share this machine's cores."}
	sources, err := sourcesTable(r)
	if err != nil { // Go's benchmarks skip what needs Trino
		t.notes = append(t.notes, "The sources that need Trino were not measured: "+err.Error()+".")
		return []table{t}, nil
	}
	return []table{t, sources}, nil
}

// sourcesTable compares the sources of the same facts. Their answers were compared
// by the benchmarks.
func sourcesTable(r benchResults) (table, error) {
	t := table{title: "verify: the same facts from each source", header: []string{"source", "what", "time", "verify's peak memory"}}
	for _, row := range []struct{ benchmark, unit, source, what string }{
		{"Sources", "files", "`--events s3://`", "1,000,000 events, validated; 500 keys"},
		{"Sources", "sql", "`--events trino:`", "1,000,000 events, one query; 500 keys"},
		{"Sources", "lookup", "`--events lookup`", "1,000,000 events, two lookups a second; 23 keys"},
		{"Inventory", "head", "`--prefix ''`", "1,000,000 objects, HeadObject of each"},
		{"Inventory", "inventory", "`--objects trino:`", "1,000,000 objects, an inventory and a sample of 3,000"},
	} {
		took, err := r.get(row.benchmark, row.unit+"-s")
		if err != nil {
			return t, err
		}
		memory, err := r.get(row.benchmark, row.unit+"-MB")
		if err != nil {
			return t, err
		}
		t.add(row.source, row.what, seconds(time.Duration(took*float64(time.Second))), fmt.Sprintf("%.0f MB", memory))
	}
	t.notes = []string{"Once each, with the process. All sources of events named the same three keys as not used, and the others as used; both sources of objects named the same ten that are not under the key. S3 is a server on this machine that answers at once, and Trino, with a heap of 2 GB, shares its cores."}
	return t, nil
}

// benchResults are what benchmarks reported: by name and unit, one value a run.
type benchResults map[string]map[string][]float64

// get is the median of what a benchmark reported.
func (r benchResults) get(benchmark, unit string) (float64, error) {
	values := r[benchmark][unit]
	if len(values) == 0 {
		return 0, fmt.Errorf("Benchmark%s reported no %s", benchmark, unit)
	}
	return middle(values), nil
}

// goBench runs a package's benchmarks of this name.
func (b *bench) goBench(ctx context.Context, pkg, name string, flags ...string) (benchResults, error) {
	args := append([]string{"test", pkg, "-run", "^$", "-bench", "^Benchmark" + name + "$", "-timeout", "1h"}, flags...)
	out, err := b.goCommand(ctx, args...).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return parseBench(string(out)), nil
}

// benchLine is a line of results: name, GOMAXPROCS, iterations, values and units.
// Source: https://go.googlesource.com/proposal/+/master/design/14313-benchmark-format.md
var benchLine = regexp.MustCompile(`^Benchmark(\S+?)(?:-\d+)?\s+\d+\s+(.*)$`)

func parseBench(out string) benchResults {
	r := benchResults{}
	for lines := bufio.NewScanner(strings.NewReader(out)); lines.Scan(); {
		m := benchLine.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		if r[m[1]] == nil {
			r[m[1]] = map[string][]float64{}
		}
		for fields := strings.Fields(m[2]); len(fields) > 1; fields = fields[2:] {
			if v, err := strconv.ParseFloat(fields[0], 64); err == nil {
				r[m[1]][fields[1]] = append(r[m[1]][fields[1]], v)
			}
		}
	}
	return r
}
