// Command acceptance runs the acceptance tests of Terraform's AWS provider, which
// are written for an AWS account, unmodified against localaws:
//
//	go run ./sandbox exec -- go run ./e2e/acceptance -dir FOLDER -services s3,ec2 -run REGEXP
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

	"github.com/securethecloud/kms-baseline/sandbox/engine"
)

// cut is what the tests' packages and their helpers import.
var cut = engine.Cut{
	Services:  []string{"cloudtrail", "ec2", "iam", "kms", "meta", "s3", "sts"},
	Libraries: []string{"account", "acmpca", "cloudformation", "organizations"},
	Clients: []string{
		"account", "acmpca", "athena", "cloudformation", "cloudtrail", "cognitoidentityprovider", "directoryservice", "ec2",
		"elasticloadbalancingv2", "glue", "iam", "inspector2", "kms", "organizations", "outposts", "pinpoint", "s3", "ssm", "ssoadmin", "sts", "wafv2",
	},
	// Of EC2's tests, those of EBS: the others test what localaws does not have.
	Test: regexp.MustCompile(`^internal/(acctest/exports|service/(kms|s3|cloudtrail)/[^/]+|service/ec2/(ebs_[^/]+|exports))_test\.go$`).MatchString,
}

func main() {
	log.SetFlags(0)
	dir := flag.String("dir", "", "folder of the copy, the programs and the logs")
	module := flag.String("module", "", "folder of the module github.com/upbound/terraform-provider-aws")
	services := flag.String("services", "kms,s3,ec2,cloudtrail", "services whose tests run")
	run := flag.String("run", "^TestAcc", "tests that run, as a regular expression")
	parallel := flag.Int("parallel", 8, "tests at a time")
	flag.Parse()
	if *dir == "" || *module == "" {
		log.Fatal("acceptance: -dir and -module are needed")
	}
	if err := judge(context.Background(), *module, *dir, strings.Split(*services, ","), *run, *parallel); err != nil {
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
	if err := os.MkdirAll(filepath.Join(dir, "logs"), 0o755); err != nil {
		return err
	}
	counts := map[string]int{}
	for _, service := range services {
		pkg := filepath.Join(upstream, "internal", "service", service)
		program := filepath.Join(dir, service+".test")
		build := exec.CommandContext(ctx, "go", "test", "-mod=mod", "-c", "-o", program, ".")
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
		var wg sync.WaitGroup
		var mu sync.Mutex
		slots := make(chan struct{}, parallel)
		for _, name := range strings.Fields(string(names)) {
			slots <- struct{}{}
			wg.Go(func() {
				defer func() { <-slots }()
				result := test(ctx, program, pkg, name, filepath.Join(dir, "logs", service+"."+name+".log"))
				mu.Lock()
				defer mu.Unlock()
				counts[service+" "+result]++
				fmt.Println(result, service, name)
			})
		}
		wg.Wait()
	}
	fmt.Println(counts)
	return nil
}

// prepare copies the module, and makes the copy one that can be built by itself.
func prepare(module, upstream string) error {
	if err := cut.Trim(module, upstream); err != nil {
		return err
	}
	sums, err := os.ReadFile(filepath.Join(module, "go.sum"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(upstream, "go.sum"), sums, 0o644); err != nil {
		return err
	}
	mod := filepath.Join(upstream, "go.mod")
	text, err := os.ReadFile(mod)
	if err != nil {
		return err
	}
	// Newer versions of Go do not know the setting any more.
	text = regexp.MustCompile(`(?m)^godebug .*\n`).ReplaceAll(text, nil)
	return os.WriteFile(mod, text, 0o644)
}

// test runs one test, unless it has a log, and says how it ended.
func test(ctx context.Context, program, dir, name, logfile string) string {
	out, err := os.ReadFile(logfile)
	if err != nil {
		ctx, cancel := context.WithTimeout(ctx, 20*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, program, "-test.v", "-test.run", "^"+name+"$")
		cmd.Dir = dir
		// The provider refuses AWS_CA_BUNDLE where the tests make a client of their own.
		cmd.Env = append(os.Environ(), "TF_ACC=1", "CHECKPOINT_DISABLE=1", "SSL_CERT_FILE="+os.Getenv("AWS_CA_BUNDLE"), "AWS_CA_BUNDLE=",
			"AWS_REGION=us-west-2", "AWS_DEFAULT_REGION=us-west-2", "AWS_ALTERNATE_REGION=us-east-1", "AWS_THIRD_REGION=us-east-2")
		out, _ = cmd.CombinedOutput() // how it ended is in the output
		if err := os.WriteFile(logfile, out, 0o644); err != nil {
			return err.Error()
		}
	}
	if found := regexp.MustCompile(`(?m)^--- (PASS|FAIL|SKIP)`).FindSubmatch(out); found != nil {
		return string(found[1])
	}
	return "no result"
}
