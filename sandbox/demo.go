package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/pulumi/pulumi/sdk/v3/go/auto"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optdestroy"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optpreview"
	"github.com/pulumi/pulumi/sdk/v3/go/auto/optup"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/spf13/cobra"

	"github.com/securethecloud/kms-baseline/localaws"
	"github.com/securethecloud/kms-baseline/sandbox/engine"
	"github.com/securethecloud/kms-baseline/stack"
)

func newDemo(at *place) *cobra.Command {
	var verbose bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "The course's whole day: up, the evidence, drift, repair, proof, destroy",
		Long: `Brings the stack up in an account of its own, shows the evidence (what AWS
answers, and an object as it lies on disk), finds and repairs a change made
behind Pulumi's back, has verify prove the result, and takes everything down
again. It exits with 0 only if every step was as it should be, and leaves
nothing running.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			root, paths, err := at.project()
			if err != nil {
				return err
			}
			d := &demo{out: cmd.OutOrStdout(), progress: cmd.ErrOrStderr(), root: root, start: time.Now(), verbose: verbose}
			return d.run(cmd.Context(), paths.Dir)
		},
	}
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "show all that the engine prints")
	return cmd
}

// demo is one run of the demonstration.
type demo struct {
	out, progress io.Writer
	root          string
	start         time.Time
	verbose       bool

	aws    *localaws.Server
	env    engine.Environment
	stack  auto.Stack
	look   *clients
	key    string // ARN
	bucket string
	prover func() (string, error) // builds the verify command once, and returns its path

	steps  []string // one line each, for the summary
	failed int
}

func (d *demo) run(ctx context.Context, dir string) error {
	tools, err := engine.Install(ctx, d.root, d.progress)
	if err != nil {
		return err
	}
	return inOwnAccount(dir, func(paths engine.Paths, server *localaws.Server) error {
		d.aws = server
		return d.play(ctx, tools, paths)
	})
}

// play runs the steps of the demo.
func (d *demo) play(ctx context.Context, tools *engine.Tools, paths engine.Paths) (err error) {
	d.env = engine.Env(tools, paths, d.aws.URL(), d.aws.CAFile())
	if err := d.env.Apply(); err != nil {
		return err
	}
	if d.look, err = newClients(ctx, d.aws); err != nil {
		return err
	}
	d.stack, err = engine.OpenStack(ctx, engine.StackOptions{
		Tools: tools, Paths: paths, Env: d.env, Stack: stackName, Program: stack.Deploy,
		ProjectFile: filepath.Join(d.root, "Pulumi.yaml"), ConfigFile: filepath.Join(d.root, "Pulumi."+stackName+".yaml"),
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(d.out, "localaws, an AWS of your own, answers at %s\n", d.aws.URL())
	d.prover = sync.OnceValues(func() (string, error) { return buildVerify(ctx, d.root, d.progress) })
	go func() { _, _ = d.prover() }()    // now, because the first step mostly waits
	defer func() { _, _ = d.prover() }() // a build outlives a failed first step

	for i, step := range []struct {
		title string
		do    func(context.Context) (string, error)
	}{
		{"pulumi up: a key, a bucket, EBS encryption by default", d.up},
		{"The evidence: what AWS answers, and what lies on the disk", d.evidence},
		{"pulumi preview --refresh: nothing to do", d.clean},
		{"A change behind Pulumi's back, and the preview that finds it", d.drift},
		{"pulumi up --refresh: the repair", d.repair},
		{"verify envelope: envelope encryption, with the live key", d.seeEnvelope},
		{"verify: the proof", d.verify},
		{"pulumi destroy, and a look at what is left", d.destroy},
	} {
		fmt.Fprintf(d.out, "\n== %d. %s\n", i+1, step.title)
		said, err := step.do(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		sign := "ok  "
		if err != nil {
			d.failed++
			sign, said = "FAIL", err.Error()
			fmt.Fprintf(d.out, "not as it should be: %v\n", err)
		}
		d.steps = append(d.steps, fmt.Sprintf("  %s  %d. %s", sign, i+1, said))
		if err != nil && d.bucket == "" {
			break // nothing that follows could work
		}
	}
	fmt.Fprintf(d.out, "\n== Summary (%s)\n\n%s\n", time.Since(d.start).Round(time.Second), strings.Join(d.steps, "\n"))
	if d.failed > 0 {
		return fmt.Errorf("%d of the demo's steps were not as they should be: see above", d.failed)
	}
	return nil
}

// inOwnAccount runs f with a localaws of its own, in a folder of its own below dir,
// for the demo and the course. It leaves nothing behind, whatever happens.
func inOwnAccount(dir string, f func(engine.Paths, *localaws.Server) error) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := removeKilled(dir); err != nil {
		return err
	}
	place, err := os.MkdirTemp(dir, fmt.Sprintf("demo-%d-", os.Getpid()))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(place)) }()
	paths := engine.Paths{Dir: place}
	server, err := localaws.Open(localaws.Options{Dir: paths.State(), CertDir: paths.Certs()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	if err := server.Start("127.0.0.1:0"); err != nil {
		return err
	}
	return f(paths, server)
}

// removeKilled removes the folders of runs whose process has ended without removing
// them.
func removeKilled(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, "demo-*"))
	if err != nil {
		return err
	}
	for _, place := range left {
		owner, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(place), "demo-"), "-")
		if pid, err := strconv.Atoi(owner); err == nil && engine.Alive(pid) {
			continue
		}
		if err := os.RemoveAll(place); err != nil {
			return fmt.Errorf("removing what a killed demo left: %w", err)
		}
	}
	return nil
}

// engineOut is where the engine's progress goes: in full with --verbose, else a
// line for each AWS resource that was changed.
func (d *demo) engineOut() io.Writer {
	if d.verbose {
		return d.out
	}
	return &compactProgress{out: d.out}
}

// color is the engine's color: compactProgress reads its lines.
func (d *demo) color() string {
	if d.verbose {
		return color(d.out)
	}
	return "never"
}

// compactProgress passes on the engine's lines about AWS resources that it has
// created, updated or deleted, and drops the rest.
type compactProgress struct {
	out  io.Writer
	line []byte
}

var changedResource = regexp.MustCompile(`^ *([-+~]) +(aws:\S+) (\S+) (?:created|updated|deleted)\b`)

func (p *compactProgress) Write(b []byte) (int, error) {
	p.line = append(p.line, b...)
	for {
		line, rest, ok := bytes.Cut(p.line, []byte("\n"))
		if !ok {
			return len(b), nil
		}
		if m := changedResource.FindSubmatch(line); m != nil {
			if _, err := fmt.Fprintf(p.out, "  %s %-60s %s\n", m[1], m[2], m[3]); err != nil {
				return 0, err
			}
		}
		p.line = rest
	}
}

func (d *demo) up(ctx context.Context) (string, error) {
	r, err := d.stack.Up(ctx, optup.ProgressStreams(d.engineOut()), optup.ErrorProgressStreams(d.progress), optup.Color(d.color()))
	if err != nil {
		return "", brief(err)
	}
	d.key, _ = r.Outputs["keyArn"].Value.(string)
	d.bucket, _ = r.Outputs["bucketName"].Value.(string)
	return fmt.Sprintf("%d resources made", (*r.Summary.ResourceChanges)["create"]), nil
}

// preview refreshes and counts what up would change. The engine prints a line
// per resource that it looks at; here the changes alone are of interest.
func (d *demo) preview(ctx context.Context) (changes int, err error) {
	r, err := d.stack.Preview(ctx, optpreview.Refresh(), optpreview.ErrorProgressStreams(d.progress))
	if err != nil {
		return 0, brief(err)
	}
	for op, n := range r.ChangeSummary {
		if op != apitype.OpSame {
			changes += n
		}
	}
	for line := range strings.Lines(r.StdOut) {
		if strings.Contains(line, "[diff:") && !strings.Contains(line, "refresh") {
			fmt.Fprint(d.out, line)
		}
	}
	_, resources, _ := strings.Cut(r.StdOut, "Resources:\n")
	for line := range strings.Lines(strings.TrimSpace(resources)) {
		fmt.Fprintf(d.out, "  %s\n", strings.TrimSpace(line))
	}
	return changes, nil
}

func (d *demo) clean(ctx context.Context) (string, error) {
	changes, err := d.preview(ctx)
	if err == nil && changes > 0 {
		err = fmt.Errorf("the preview right after up shows %d changes", changes)
	}
	return "no changes", err
}

func (d *demo) drift(ctx context.Context) (string, error) {
	fmt.Fprintf(d.out, "$ aws s3api put-bucket-encryption --bucket %s ...SSEAlgorithm=AES256\n", d.bucket)
	_, err := d.look.s3.PutBucketEncryption(ctx, &s3.PutBucketEncryptionInput{Bucket: &d.bucket,
		ServerSideEncryptionConfiguration: &types.ServerSideEncryptionConfiguration{Rules: []types.ServerSideEncryptionRule{{
			ApplyServerSideEncryptionByDefault: &types.ServerSideEncryptionByDefault{SSEAlgorithm: types.ServerSideEncryptionAes256},
		}}}})
	if err != nil {
		return "", err
	}
	changes, err := d.preview(ctx)
	if err == nil && changes == 0 {
		err = errors.New("the preview does not show that the bucket's default is no longer the key")
	}
	return "found", err
}

func (d *demo) repair(ctx context.Context) (string, error) {
	if _, err := d.stack.Up(ctx, optup.Refresh(), optup.ProgressStreams(d.engineOut()), optup.ErrorProgressStreams(d.progress), optup.Color(d.color())); err != nil {
		return "", brief(err)
	}
	e, err := d.look.s3.GetBucketEncryption(ctx, &s3.GetBucketEncryptionInput{Bucket: &d.bucket})
	if err != nil {
		return "", err
	}
	rule := e.ServerSideEncryptionConfiguration.Rules[0].ApplyServerSideEncryptionByDefault
	if rule.KMSMasterKeyID == nil || *rule.KMSMasterKeyID != d.key {
		return "", errors.New("the bucket's default is not the key again")
	}
	return "the bucket's default is the key again", nil
}

// seeEnvelope has the whole exchange done before the reader's eyes.
func (d *demo) seeEnvelope(ctx context.Context) (string, error) {
	err := d.runVerify(ctx, "envelope", "--key", "alias/masterclass-cmk")
	return "a wrong encryption context is refused", err
}

// verify proves the stack, as an auditor would.
func (d *demo) verify(ctx context.Context) (string, error) {
	err := d.runVerify(ctx, "--key", d.key, "--alias", "alias/masterclass-cmk", "--account", engine.AccountID,
		"--bucket", d.bucket, "--object", "test/hello.txt", "--canary", "--wait", "1m")
	return "every check passes", err
}

// runVerify runs the real command.
func (d *demo) runVerify(ctx context.Context, args ...string) error {
	prover, err := d.prover()
	if err != nil {
		return err
	}
	fmt.Fprintf(d.out, "$ verify %s\n", strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, prover, args...)
	cmd.Env = d.env.Environ(os.Environ())
	cmd.Stdout, cmd.Stderr = d.out, d.progress
	// A canceled canary removes what it has written before it ends.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	return nil
}

// buildVerify builds the real command, and returns its path.
func buildVerify(ctx context.Context, root string, progress io.Writer) (string, error) {
	program := filepath.Join(root, "bin", "verify")
	build := exec.CommandContext(ctx, "go", "build", engine.WithoutDWARF, "-o", program, "./verify")
	build.Dir, build.Stdout, build.Stderr = root, progress, progress
	if err := build.Run(); err != nil {
		return "", fmt.Errorf("building verify: %w", err)
	}
	return program, nil
}

func (d *demo) destroy(ctx context.Context) (string, error) {
	out := io.Discard // the resources are those that up has shown
	if d.verbose {
		out = d.out
	}
	r, err := d.stack.Destroy(ctx, optdestroy.ProgressStreams(out), optdestroy.ErrorProgressStreams(d.progress), optdestroy.Color(d.color()))
	if err != nil {
		return "", brief(err)
	}
	fmt.Fprintf(d.out, "  resources deleted:         %d\n", (*r.Summary.ResourceChanges)["delete"])
	return d.leftovers(ctx)
}
