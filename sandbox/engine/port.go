package engine

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// PortHolder describes the process that listens on the port of addr: "nginx
// (process 123)"; empty if there is none or it cannot be found out. It is for
// error messages.
func PortHolder(addr string) string {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return ""
	}
	n, err := strconv.Atoi(port)
	if err != nil || n == 0 {
		return ""
	}
	if _, err := os.Stat("/proc/net/tcp"); err == nil {
		return holderFromProc("/proc", n)
	}
	// macOS has lsof. Its -F output is a line per field: p123, cnginx.
	out, err := exec.Command("lsof", "-nP", "-iTCP:"+port, "-sTCP:LISTEN", "-Fpc").Output() //nolint:noctx // it only looks at this machine
	fields := strings.Fields(string(out))
	if err != nil || len(fields) < 2 {
		return ""
	}
	return fmt.Sprintf("%s (process %s)", strings.TrimPrefix(fields[1], "c"), strings.TrimPrefix(fields[0], "p"))
}

// holderFromProc finds the socket in /proc/net/tcp and tcp6, and then the process
// that has it open.
// Source: https://docs.kernel.org/networking/proc_net_tcp.html
func holderFromProc(proc string, port int) string {
	const listen = "0A"
	var sockets []string
	for _, table := range []string{"tcp", "tcp6"} {
		data, err := os.ReadFile(filepath.Join(proc, "net", table))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(data)) {
			f := strings.Fields(line)
			if len(f) > 9 && f[3] == listen && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
				sockets = append(sockets, "socket:["+f[9]+"]")
			}
		}
	}
	if len(sockets) == 0 {
		return ""
	}
	links, err := filepath.Glob(filepath.Join(proc, "[0-9]*", "fd", "*"))
	if err != nil {
		return ""
	}
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil {
			continue
		}
		for _, s := range sockets {
			if target == s {
				pid := filepath.Base(filepath.Dir(filepath.Dir(link)))
				name, _ := os.ReadFile(filepath.Join(proc, pid, "comm"))
				return fmt.Sprintf("%s (process %s)", strings.TrimSpace(string(name)), pid)
			}
		}
	}
	return "a process of another user"
}
