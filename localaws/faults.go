package localaws

import (
	"errors"
	"sync"
	"time"
)

// Fault is something that goes wrong on demand. One of Status, Drop and
// DropAnswer states what goes wrong; Delay may come with any of them, or alone.
type Fault struct {
	// Service and Operation select the calls: "kms", "GenerateDataKey".
	// Empty means every one.
	Service   string `json:"service,omitempty"`
	Operation string `json:"operation,omitempty"`
	// Skip lets the first calls that match pass.
	Skip int `json:"skip,omitempty"`
	// Count is how many calls it meets; 0 means all from then on.
	Count int `json:"count,omitempty"`
	// Delay is how long the call waits before anything else happens; in JSON,
	// nanoseconds.
	Delay time.Duration `json:"delay,omitempty"`
	// Status and Code make the call fail without being carried out: 400 and
	// ThrottlingException, 503 and SlowDown, 403 and AccessDenied.
	Status  int    `json:"status,omitempty"`
	Code    string `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
	// Drop closes the connection before the call is carried out.
	Drop bool `json:"drop,omitempty"`
	// DropAnswer carries the call out and closes the connection instead of
	// answering: the client cannot know that it happened.
	DropAnswer bool `json:"dropAnswer,omitempty"`
}

// check refuses a fault that says nothing, or two things at once.
func (f Fault) check() error {
	ways := 0
	for _, way := range []bool{f.Status != 0, f.Drop, f.DropAnswer} {
		if way {
			ways++
		}
	}
	switch {
	case ways > 1:
		return errors.New("give one of status, drop and dropAnswer")
	case ways == 0 && f.Delay == 0:
		return errors.New("give a status, drop, dropAnswer or a delay")
	case f.Status != 0 && (f.Status < 400 || f.Status > 599 || f.Code == ""):
		return errors.New("a status is from 400 to 599 and comes with a code")
	case f.Skip < 0 || f.Count < 0 || f.Delay < 0:
		return errors.New("skip, count and delay are not negative")
	}
	return nil
}

// faults holds the faults that are armed.
type faults struct {
	mu    sync.Mutex
	armed []*Fault
}

// Inject arms f. Faults are tried in the order they were armed, and a call
// meets at most one.
func (s *Server) Inject(f Fault) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.armed = append(s.faults.armed, &f)
}

// ClearFaults disarms every fault.
func (s *Server) ClearFaults() {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.armed = nil
}

// meet returns the fault that this call meets, or nil.
func (f *faults) meet(service, operation string) *Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, a := range f.armed {
		if a.Service != "" && a.Service != service || a.Operation != "" && a.Operation != operation {
			continue
		}
		if a.Skip > 0 {
			a.Skip--
			continue
		}
		met := *a
		if a.Count > 0 {
			if a.Count--; a.Count == 0 {
				f.armed = append(f.armed[:i:i], f.armed[i+1:]...)
			}
		}
		return &met
	}
	return nil
}
