package localaws

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
)

// tunnel serves CONNECT, as a proxy does, for names of this machine alone: every
// tunnel ends at this server's own HTTPS address. The SDKs call S3 Control at
// ACCOUNT.HOST, which no resolver finds if HOST is an IP address, and few find below
// localhost. A client that asks a proxy leaves the name to it.
//
// foreign has refused the hosts of other machines.
func (s *Server) tunnel(w http.ResponseWriter, h *http.Request) {
	own := strings.TrimPrefix(s.URL(), "https://")
	_, port, err := net.SplitHostPort(h.Host)
	_, ownPort, ownErr := net.SplitHostPort(own)
	if err != nil || ownErr != nil || port != ownPort {
		http.Error(w, "localaws: refusing a tunnel to "+h.Host+": only to this server's own HTTPS port", http.StatusForbidden)
		return
	}
	there, err := new(net.Dialer).DialContext(h.Context(), "tcp", own)
	if err != nil {
		http.Error(w, "localaws: "+err.Error(), http.StatusBadGateway)
		return
	}
	defer func() { _ = there.Close() }()
	here, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "localaws: "+err.Error(), http.StatusInternalServerError)
		return
	}
	defer func() { _ = here.Close() }()
	if _, err := io.WriteString(here, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	// Either end closes both: a half-open tunnel has no use here.
	var both sync.WaitGroup
	closeBoth := func() { _ = here.Close(); _ = there.Close() }
	both.Go(func() { defer closeBoth(); _, _ = io.Copy(there, buffered) })
	both.Go(func() { defer closeBoth(); _, _ = io.Copy(here, there) })
	both.Wait()
}
