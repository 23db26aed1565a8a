package localaws

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// adminPath is where a test or a tool talks about the server itself, not to an
// AWS service. No S3 bucket can be named so: bucket names have no underscore.
const adminPath = "/_localaws/"

// serveAdmin answers
//
//	GET    /_localaws/calls     how many calls of each operation were answered
//	DELETE /_localaws/calls     start counting anew
//	POST   /_localaws/faults    arm a [Fault], given as JSON
//	DELETE /_localaws/faults    disarm all
//	PUT    /_localaws/policies?principal=ARN   give a principal an identity policy
//	PUT    /_localaws/roles?arn=ARN            create a role, given its trust policy
//	DELETE /_localaws/roles?arn=ARN            remove a role
//	PUT    /_localaws/organization             make an [Organization], given as JSON
func (s *Server) serveAdmin(w http.ResponseWriter, h *http.Request) {
	switch h.Method + " " + h.URL.Path[len(adminPath):] {
	case "GET calls":
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(s.Calls()) // a client that hung up is no error of ours
	case "DELETE calls":
		s.ResetCalls()
	case "POST faults":
		var f Fault
		d := json.NewDecoder(http.MaxBytesReader(w, h.Body, wire.MaxBody))
		d.DisallowUnknownFields()
		err := d.Decode(&f)
		if err == nil {
			err = f.check()
		}
		if err != nil {
			http.Error(w, fmt.Sprintf("not a fault: %v", err), http.StatusBadRequest)
			return
		}
		s.Inject(f)
	case "DELETE faults":
		s.ClearFaults()
	case "PUT policies":
		s.setPolicy(w, h, h.URL.Query().Get("principal"), s.SetIdentityPolicy)
	case "PUT roles":
		s.setPolicy(w, h, h.URL.Query().Get("arn"), s.SetRole)
	case "DELETE roles":
		if err := s.SetRole(h.URL.Query().Get("arn"), ""); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	case "PUT organization":
		var o Organization
		d := json.NewDecoder(http.MaxBytesReader(w, h.Body, wire.MaxBody))
		d.DisallowUnknownFields()
		err := d.Decode(&o)
		if err == nil {
			err = s.SetOrganization(o)
		}
		if err != nil {
			http.Error(w, fmt.Sprintf("not an organization: %v", err), http.StatusBadRequest)
		}
	default:
		http.Error(w, "localaws: no such page", http.StatusNotFound)
	}
}

// setPolicy gives what has the ARN the policy document in the body.
func (s *Server) setPolicy(w http.ResponseWriter, h *http.Request, arn string, set func(arn, document string) error) {
	var doc json.RawMessage
	if err := json.NewDecoder(http.MaxBytesReader(w, h.Body, wire.MaxBody)).Decode(&doc); err != nil {
		http.Error(w, fmt.Sprintf("not a policy: %v", err), http.StatusBadRequest)
		return
	}
	if err := set(arn, string(doc)); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}

// CallCount is how often one operation was answered.
type CallCount struct {
	Service   string `json:"service"`
	Operation string `json:"operation"`
	Count     int    `json:"count"`
}

type callCounter struct {
	mu sync.Mutex
	n  map[[2]string]int
}

func (c *callCounter) count(call Call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = map[[2]string]int{}
	}
	c.n[[2]string{call.Service, call.Operation}]++
}

// Calls returns how many calls of each operation were answered since the start or
// the last ResetCalls, the most frequent first.
func (s *Server) Calls() []CallCount {
	s.calls.mu.Lock()
	defer s.calls.mu.Unlock()
	out := make([]CallCount, 0, len(s.calls.n))
	for k, n := range s.calls.n {
		out = append(out, CallCount{k[0], k[1], n})
	}
	slices.SortFunc(out, func(a, b CallCount) int {
		return cmp.Or(b.Count-a.Count, cmp.Compare(a.Service, b.Service), cmp.Compare(a.Operation, b.Operation))
	})
	return out
}

// ResetCalls starts counting anew.
func (s *Server) ResetCalls() {
	s.calls.mu.Lock()
	defer s.calls.mu.Unlock()
	s.calls.n = nil
}
