package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// awscliVersion is the AWS CLI that tests get where there is none on PATH.
const awscliVersion = "1.45.11"

// InstallAWSCLI finds an AWS CLI for tests and returns its path: the one on PATH
// where it answers, else one from PyPI in root/.sandbox, which needs Python 3
// with venv or pip. It is safe to call as Install is, and as fast the second
// time.
func InstallAWSCLI(ctx context.Context, root string, progress io.Writer) (string, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return "", err
	}
	in := newInstaller(root, progress)
	a := awscliArtifact()
	if _, err := in.ensure(ctx, a); err != nil {
		return "", err
	}
	return filepath.Join(in.dir, a.path, a.program), nil
}

func awscliArtifact() artifact {
	return artifact{
		name:    "aws cli",
		path:    "awscli",
		program: filepath.Join("bin", "aws"),
		key:     awscliVersion,
		sources: []source{
			{name: "PATH", verb: "looking for one on PATH", get: linkAWSCLI},
			{name: "PyPI", verb: "installing awscli " + awscliVersion + " from PyPI", get: pipAWSCLI},
		},
	}
}

func linkAWSCLI(ctx context.Context, dst string) error {
	found, err := exec.LookPath("aws")
	if err != nil {
		return fmt.Errorf("%w: no aws on PATH", errUnavailable)
	}
	if found, err = filepath.Abs(found); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if out, err := exec.CommandContext(ctx, found, "--version").CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s --version: %w\n%s", errUnavailable, found, err, out)
	}
	if err := os.MkdirAll(filepath.Join(dst, "bin"), 0o755); err != nil {
		return err
	}
	return os.Symlink(found, filepath.Join(dst, "bin", "aws"))
}

// pipAWSCLI installs into a folder of libraries, with a script beside it, since
// a virtual environment cannot be moved to its place.
func pipAWSCLI(ctx context.Context, dst string) error {
	python, err := exec.LookPath("python3")
	if err != nil {
		return errors.New("there is no aws on PATH, and no python3 to install one with: install the AWS CLI or Python 3")
	}
	err = pip(ctx, python, filepath.Join(filepath.Dir(dst), "venv"), "install", "--quiet",
		"--target", filepath.Join(dst, "lib"), "awscli=="+awscliVersion)
	if err != nil {
		return fmt.Errorf("%w: install the AWS CLI, or give this machine python3-venv and access to PyPI", err)
	}
	script := fmt.Sprintf(`#!/bin/sh
# Runs the AWS CLI in the folder beside this one.
here=$(cd "$(dirname "$0")/.." && pwd)
PYTHONPATH="$here/lib" exec %s -m awscli "$@"
`, ShellQuote(python))
	if err := os.Mkdir(filepath.Join(dst, "bin"), 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dst, "bin", "aws"), []byte(script), 0o755)
}

// pip runs pip in a virtual environment at venv, which brings a pip where the
// system has none, or else the system's: Debian's Python may lack venv and have
// pip.
func pip(ctx context.Context, python, venv string, args ...string) error {
	program := filepath.Join(venv, "bin", "python3")
	if err := exec.CommandContext(ctx, python, "-m", "venv", venv).Run(); err != nil {
		program = python
	}
	args = append([]string{"-m", "pip", "--disable-pip-version-check"}, args...)
	if out, err := exec.CommandContext(ctx, program, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("pip %s: %w\n%s", strings.Join(args[3:], " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
