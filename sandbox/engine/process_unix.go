//go:build unix

package engine

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// OwnGroup gives cmd a process group of its own, so that an interrupt from the
// terminal does not reach it.
func OwnGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// Detach lets cmd outlive this process and its terminal.
func Detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }

// Alive reports whether a process with this ID exists.
func Alive(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil || pid <= 0 {
		return false
	}
	err = p.Signal(syscall.Signal(0))
	return err == nil || errors.Is(err, os.ErrPermission)
}

// Terminate asks a process to end.
func Terminate(pid int) error { return syscall.Kill(pid, syscall.SIGTERM) }
