package localaws

import (
	"fmt"
	"regexp"
	"sync"

	bolt "go.etcd.io/bbolt"
)

// Which principals exist, and the identity policies that they were given.

// What a principal may look like in a policy that is stored.
var (
	accountPrincipal = regexp.MustCompile(`^\d{12}$|^arn:aws[a-z-]*:iam::\d{12}:root$`)
	namedPrincipal   = regexp.MustCompile(`^arn:aws[a-z-]*:(iam::\d{12}:(user|role)/|sts::\d{12}:(assumed-role/[\w+=,.@-]+/|federated-user/))([\w+=,.@-]+/)*[\w+=,.@-]+$`)
	servicePrincipal = regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+)*\.amazonaws\.com(\.cn)?$`)
	canonicalUser    = regexp.MustCompile(`^[0-9a-f]{64}$`)
	linkedRole       = regexp.MustCompile(`^arn:aws[a-z-]*:iam::\d{12}:role/aws-service-role/`)
)

// unknownPrincipal answers with the first principal of the policy that does
// not exist, or "". AWS refuses a policy that names one. Here every account
// exists, and every user and role, except service-linked roles: AWS makes
// those when the service is first used, so a fresh account has none. One
// exists here once it was given an identity policy: see
// [Server.SetIdentityPolicy].
func (s *Server) unknownPrincipal(p *policy) string {
	for _, st := range p.statements {
		for _, pr := range st.principals {
			known := false
			switch pr.kind {
			case "AWS":
				known = pr.name == "*" || accountPrincipal.MatchString(pr.name) || namedPrincipal.MatchString(pr.name)
				if linkedRole.MatchString(pr.name) {
					known = known && s.policies.of(pr.name) != nil
				}
			case "Service":
				known = servicePrincipal.MatchString(pr.name)
			case "CanonicalUser":
				known = canonicalUser.MatchString(pr.name)
			case "Federated":
				known = pr.name != "" && pr.name != "*"
			}
			if !known {
				return pr.name
			}
		}
	}
	return ""
}

// identityPolicies holds the policies that principals were given, by ARN.
type identityPolicies struct {
	mu sync.RWMutex
	m  map[string]*policy
}

func (i *identityPolicies) of(arn string) *policy {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return i.m[arn]
}

func (s *Server) openPolicies() error {
	s.policies.m = map[string]*policy{}
	return s.db.View(func(tx *bolt.Tx) error {
		return each(tx, boltPolicies, "", func(arn string, document string) error {
			p, err := parseIdentityPolicy(document)
			if err != nil {
				return fmt.Errorf("localaws: the identity policy of %s: %w", arn, err)
			}
			s.policies.m[arn] = p
			return nil
		})
	})
}

// SetIdentityPolicy gives a principal (the ARN of an IAM user or role) an
// identity policy. Without one a principal may do everything in its own
// account; with one, only what the policy allows. An empty document takes it
// away. A service-linked role exists for as long as it has a policy: where it
// has none, AWS's answer to a policy that names it is that there is no such
// principal.
func (s *Server) SetIdentityPolicy(principalARN, document string) error {
	if !namedPrincipal.MatchString(principalARN) {
		return fmt.Errorf("localaws: %q is not the ARN of a user or role (arn:aws:iam::123456789012:user/NAME)", principalARN)
	}
	var p *policy
	if document != "" {
		var err error
		if p, err = parseIdentityPolicy(document); err != nil {
			return fmt.Errorf("localaws: the identity policy of %s: %w", principalARN, err)
		}
	}
	s.policies.mu.Lock()
	defer s.policies.mu.Unlock()
	err := s.db.Update(func(tx *bolt.Tx) error {
		if p == nil {
			return remove(tx, boltPolicies, principalARN)
		}
		return save(tx, boltPolicies, principalARN, document)
	})
	if err != nil {
		return err
	}
	if p == nil {
		delete(s.policies.m, principalARN)
	} else {
		s.policies.m[principalARN] = p
	}
	return nil
}

// identityDecision says what the caller's own identity policy says; allowed
// where none was set.
func (s *Server) identityDecision(a access) decision {
	p := s.policies.of(a.who.ARN)
	if p == nil {
		return allowed
	}
	return p.decideIdentity(a)
}
