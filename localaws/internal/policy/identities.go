package policy

import (
	"fmt"
	"maps"
	"regexp"
	"sync"
	"sync/atomic"

	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/store"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// Which principals exist, and their identity policies.

// The forms of a principal that a policy may name.
var (
	AccountPrincipal = regexp.MustCompile(`^\d{12}$|^arn:aws:iam::\d{12}:root$`)
	NamedPrincipal   = regexp.MustCompile(`^arn:aws:(iam::\d{12}:(user|role)/|sts::\d{12}:(assumed-role/[\w+=,.@-]+/|federated-user/))([\w+=,.@-]+/)*[\w+=,.@-]+$`)
	ServicePrincipal = regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+)*\.amazonaws\.com$`)
	canonicalUser    = regexp.MustCompile(`^[0-9a-f]{64}$`)
	linkedRole       = regexp.MustCompile(`^arn:aws:iam::\d{12}:role/aws-service-role/`)
)

// Bucket has the identity policies, by the ARN of their principal.
var Bucket = []byte("identity-policies")

// Identities has the identity policies of principals. Readers use an immutable
// snapshot, so that no decision waits for a write.
type Identities struct {
	db       *bolt.DB
	mu       sync.Mutex // held by writers
	snapshot atomic.Pointer[map[string]*Policy]
}

// OpenIdentities reads the identity policies.
func OpenIdentities(db *bolt.DB) (*Identities, error) {
	all := map[string]*Policy{}
	err := db.View(func(tx *bolt.Tx) error {
		return store.Each(tx, Bucket, "", func(arn string, document string) error {
			p, err := ParseIdentity(document)
			if err != nil {
				return fmt.Errorf("localaws: the identity policy of %s: %w", arn, err)
			}
			all[arn] = p
			return nil
		})
	})
	i := &Identities{db: db}
	i.snapshot.Store(&all)
	return i, err
}

func (i *Identities) of(arn string) *Policy { return (*i.snapshot.Load())[arn] }

// Set gives a principal (the ARN of an IAM user or role) an identity policy.
// Without one a principal may do everything in its own account; with one, only
// what the policy allows. An empty document removes it. A service-linked role
// exists as long as it has a policy.
func (i *Identities) Set(principalARN, document string) error {
	if !NamedPrincipal.MatchString(principalARN) {
		return fmt.Errorf("localaws: %q is not the ARN of a user or role (arn:aws:iam::123456789012:user/NAME)", principalARN)
	}
	var p *Policy
	if document != "" {
		var err error
		if p, err = ParseIdentity(document); err != nil {
			return fmt.Errorf("localaws: the identity policy of %s: %w", principalARN, err)
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	err := i.db.Update(func(tx *bolt.Tx) error {
		if p == nil {
			return store.Remove(tx, Bucket, principalARN)
		}
		return store.Save(tx, Bucket, principalARN, document)
	})
	if err != nil {
		return err
	}
	all := maps.Clone(*i.snapshot.Load())
	if p == nil {
		delete(all, principalARN)
	} else {
		all[principalARN] = p
	}
	i.snapshot.Store(&all)
	return nil
}

// Mention reports whether the caller's own identity policy, or the policy of the
// resource (nil for none), has a condition key that begins with prefix, in lower
// case. What takes work to find out is looked up only then.
func (i *Identities) Mention(who wire.Identity, resource *Policy, prefix string) bool {
	return resource.mentions(prefix) || i.of(who.PolicyARN()).mentions(prefix)
}

// Decide is what the caller's own identity policy says; Allowed if it has none.
func (i *Identities) Decide(a Access) Decision {
	p := i.of(a.Who.PolicyARN())
	if p == nil {
		return Allowed
	}
	return p.DecideIdentity(a)
}

// Authorize reports whether the caller may do what a asks to a resource that
// belongs to account and has the policy p (nil: none). Within one account the
// identity policy or the resource policy has to allow it; across accounts both
// have to; a deny in either wins. reason completes "User: ... is not authorized
// to perform: ... on resource: ..." as AWS does.
// Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
func (i *Identities) Authorize(a Access, p *Policy, account string) (reason string, ok bool) {
	byResource, byIdentity := NoMatch, NoMatch
	if p != nil {
		byResource = p.Decide(a)
	}
	if a.Who.ARN != "" {
		byIdentity = i.Decide(a)
	}
	switch sameAccount := a.Who.Account == account; {
	case byIdentity == Denied:
		return "with an explicit deny in an identity-based policy", false
	case byResource == Denied:
		return "with an explicit deny in a resource-based policy", false
	case sameAccount && (byIdentity == Allowed || byResource == Allowed):
		return "", true
	case !sameAccount && byIdentity == Allowed && (byResource == Allowed || byResource == Delegated):
		return "", true
	case a.Who.ARN == "" && byResource == Allowed:
		return "", true
	case sameAccount || byResource == Allowed || byResource == Delegated:
		return "because no identity-based policy allows the " + a.Action + " action", false
	}
	return "because no resource-based policy allows the " + a.Action + " action", false
}

// Refusal is why the caller may not do action, in AWS's words; empty if it may.
// It is for actions that are not about one resource.
func (i *Identities) Refusal(r *wire.Request, action string) string {
	return i.RefusalOn(r, action, "*")
}

// RefusalOn is [Identities.Refusal] for an action on a resource that has no
// policy of its own.
func (i *Identities) RefusalOn(r *wire.Request, action, resource string) string {
	a := Access{Who: r.Who, Action: action, Resource: resource, Context: ConditionKeys(r)}
	reason, ok := i.Authorize(a, nil, r.Who.Account)
	if ok {
		return ""
	}
	if resource != "*" {
		reason = "on resource: " + resource + " " + reason
	}
	return fmt.Sprintf("User: %s is not authorized to perform: %s %s", r.Who.ARN, action, reason)
}

// Unknown is the first principal of the policy that does not exist, or "". AWS
// refuses a policy that names one. Here every account exists, and every user and
// role except service-linked roles: AWS creates those when the service is first
// used, so a fresh account has none.
func (i *Identities) Unknown(p *Policy) string {
	for _, st := range p.Statements {
		for _, pr := range st.Principals {
			known := false
			switch pr.Kind {
			case "AWS":
				known = pr.Name == "*" || AccountPrincipal.MatchString(pr.Name) || NamedPrincipal.MatchString(pr.Name)
				if linkedRole.MatchString(pr.Name) {
					known = known && i.of(pr.Name) != nil
				}
			case "Service":
				known = ServicePrincipal.MatchString(pr.Name)
			case "CanonicalUser":
				known = canonicalUser.MatchString(pr.Name)
			case "Federated":
				known = pr.Name != "" && pr.Name != "*"
			}
			if !known {
				return pr.Name
			}
		}
	}
	return ""
}
