// Command acceptance runs the acceptance tests of Terraform's AWS provider, which
// are written for an AWS account, unmodified against localaws:
//
//	bin/sandbox exec -- go run ./e2e/acceptance -dir FOLDER -services s3,ec2 -run REGEXP
//
// It needs the terraform program, and the provider's module that the sandbox builds its
// own provider from. It cuts a copy of the module down to the packages that the tests
// import, because all of them take hours to compile, and runs each test in a process of
// its own: some panic where they need a service that is cut away. FOLDER keeps the copy, the
// test programs and one log for each test; tests that have a log are not repeated.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

func main() {
	log.SetFlags(0)
	dir := flag.String("dir", "", "folder of the copy, the programs and the logs")
	module := flag.String("module", "", "folder of the module github.com/upbound/terraform-provider-aws")
	services := flag.String("services", "kms,s3,ec2,cloudtrail", "services whose tests run")
	run := flag.String("run", "^TestAcc", "tests that run, as a regular expression")
	parallel := flag.Int("parallel", 12, "tests at a time: they wait for most of their time")
	flag.Parse()
	if *dir == "" || *module == "" {
		log.Fatal("acceptance: -dir and -module are needed")
	}
	abs, err := filepath.Abs(*dir)
	if err != nil {
		log.Fatalf("acceptance: %v", err)
	}
	if err := judge(context.Background(), *module, abs, strings.Split(*services, ","), *run, *parallel); err != nil {
		log.Fatalf("acceptance: %v", err)
	}
}

func judge(ctx context.Context, module, dir string, services []string, run string, parallel int) error {
	upstream := filepath.Join(dir, "upstream")
	if _, err := os.Stat(upstream); errors.Is(err, os.ErrNotExist) {
		if err := prepare(module, upstream); err != nil {
			return err
		}
	}
	if err := buildNull(ctx, dir, upstream); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, "logs"), 0o755); err != nil {
		return err
	}
	counts := map[string]int{}
	for _, service := range services {
		pkg := filepath.Join(upstream, "internal", "service", service)
		program := filepath.Join(dir, service+".test")
		build := exec.CommandContext(ctx, "go", "test", "-mod=mod", "-ldflags=-s -w", "-c", "-o", program, ".")
		build.Dir, build.Stderr = pkg, os.Stderr
		if err := build.Run(); err != nil {
			return fmt.Errorf("building the tests of %s: %w", service, err)
		}
		list := exec.CommandContext(ctx, program, "-test.list", run)
		list.Dir = pkg
		names, err := list.Output()
		if err != nil {
			return fmt.Errorf("listing the tests of %s: %w", service, err)
		}
		types, err := typesOf(pkg, filepath.Join(upstream, "internal", "acctest"))
		if err != nil {
			return err
		}
		var wg sync.WaitGroup
		var mu sync.Mutex
		slots := make(chan struct{}, parallel)
		for _, name := range strings.Fields(string(names)) {
			slots <- struct{}{}
			wg.Go(func() {
				defer func() { <-slots }()
				result, used := test(ctx, dir, service, name, types(name))
				mu.Lock()
				defer mu.Unlock()
				counts[service+" "+result]++
				fmt.Printf("%s %s %s (%.1f s of processor time)\n", result, service, name, used.Seconds())
			})
		}
		wg.Wait()
	}
	fmt.Println(counts)
	return nil
}

// test runs one test, unless it has a log, and returns how it ended and what processor time
// it and its terraform commands used.
func test(ctx context.Context, dir, service, name string, types []string) (string, time.Duration) {
	var used time.Duration
	logfile := filepath.Join(dir, "logs", service+"."+name+".log")
	out, err := os.ReadFile(logfile)
	if err != nil {
		ctx, cancel := context.WithTimeout(ctx, 20*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, filepath.Join(dir, service+".test"), "-test.v", "-test.run", "^"+name+"$")
		cmd.Dir = filepath.Join(dir, "upstream", "internal", "service", service)
		cmd.Env = append(os.Environ(), "TF_ACC=1", "CHECKPOINT_DISABLE=1", "XDG_DATA_HOME="+filepath.Join(dir, "data"),
			// The provider refuses AWS_CA_BUNDLE where the tests make a client of their own.
			"SSL_CERT_FILE="+os.Getenv("AWS_CA_BUNDLE"), "AWS_CA_BUNDLE=",
			"AWS_REGION=us-west-2", "AWS_DEFAULT_REGION=us-west-2", "AWS_ALTERNATE_REGION=us-east-1", "AWS_THIRD_REGION=us-east-2",
			"AWS_ALTERNATE_ACCESS_KEY_ID=222222222222", "AWS_ALTERNATE_SECRET_ACCESS_KEY=test",
			"ACCEPTANCE_TYPES="+strings.Join(types, " "),
			"GOGC=off", "GOMEMLIMIT=1GiB") // the processes are too short for collecting garbage
		out, _ = cmd.CombinedOutput() // how it ended is in the output
		if cmd.ProcessState != nil {
			used = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		}
		if err := os.WriteFile(logfile, out, 0o644); err != nil {
			return err.Error(), used
		}
	}
	if found := regexp.MustCompile(`(?m)^--- (PASS|FAIL|SKIP)`).FindSubmatch(out); found != nil {
		return string(found[1]), used
	}
	return "no result", used
}
