// Package operation executes the operations of services that speak JSON: it
// decodes strictly, authorizes, and makes the change and its event one
// transaction.
package operation

import (
	"net/http"
	"strings"

	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/policy"
	"github.com/securethecloud/kms-baseline/localaws/internal/trail"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// Service is what the operations of a service need.
type Service struct {
	// Name is the service in the names of its actions and its events: "glue".
	Name       string
	DB         *bolt.DB
	Identities *policy.Identities
	Trail      *trail.Service
}

// Handler makes a handler of f. resources are the ARNs that the caller must have
// access to, all of them. A change and its event are one transaction; an operation
// that reads gets a transaction that cannot write.
func Handler[In any](s Service, readOnly bool, resources func(*wire.Request, In) []string, f func(*bolt.Tx, *wire.Request, In) (any, error)) wire.JSONHandler {
	return func(r *wire.Request, body []byte) (any, error) {
		in, err := wire.Decode[In](r.Service, r.Operation, body)
		if err != nil {
			return nil, err
		}
		e := trail.Event{Request: r, Source: s.Name + ".amazonaws.com", Name: r.Operation, ReadOnly: readOnly, Parameters: trail.Parameters(in)}
		var out any
		err = s.Allowed(r, r.Operation, resources(r, in)...)
		switch {
		case err != nil:
		case readOnly:
			err = s.DB.View(func(tx *bolt.Tx) error { out, err = f(tx, r, in); return err })
		default:
			err = s.DB.Update(func(tx *bolt.Tx) error {
				if out, err = f(tx, r, in); err != nil {
					return err
				}
				done := e
				done.Response = trail.Parameters(out)
				return s.Trail.RecordIn(tx, done)
			})
			if err == nil {
				return out, nil
			}
		}
		return out, s.Trail.RecordResult(e, err)
	}
}

// Allowed refuses an action on the resources that the caller may not do.
func (s Service) Allowed(r *wire.Request, action string, resources ...string) error {
	for _, resource := range resources {
		if why := s.Identities.RefusalOn(r, s.Name+":"+action, resource); why != "" {
			return wire.Errf(http.StatusBadRequest, "AccessDeniedException", "%s", why)
		}
	}
	return nil
}

// ARN is the ARN of a resource of the caller's account in the Region of the
// request.
func (s Service) ARN(r *wire.Request, resource string) string {
	return strings.Join([]string{"arn:aws", s.Name, r.Region, r.Who.Account, resource}, ":")
}
