package engine

import (
	"os"
	"os/exec"
	"syscall"
)

// OwnGroup gives cmd a process group of its own, so that an interrupt from the
// terminal does not reach it.
func OwnGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

// Detach lets cmd outlive this process and its terminal.
func Detach(cmd *exec.Cmd) {
	const detachedProcess = 0x8
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP | detachedProcess}
}

// Alive reports whether a process with this ID exists.
func Alive(pid int) bool {
	h, err := syscall.OpenProcess(syscall.SYNCHRONIZE, false, uint32(pid))
	if err != nil {
		return false
	}
	_ = syscall.CloseHandle(h) // opened to see whether it can be
	return true
}

// Terminate ends a process. Windows cannot ask it to.
func Terminate(pid int) error {
	p, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	return p.Kill()
}
