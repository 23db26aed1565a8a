// Package organizations is AWS Organizations as far as the accounts of an
// organization can be listed. An organization is made by [Service.Set], not by a
// client: the operations that make or change one are not served.
package organizations

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/operation"
	"github.com/securethecloud/kms-baseline/localaws/internal/policy"
	"github.com/securethecloud/kms-baseline/localaws/internal/store"
	"github.com/securethecloud/kms-baseline/localaws/internal/trail"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// Bucket has, in the database, the one organization.
var Bucket = []byte("organizations")

// Organization is an organization and its accounts.
type Organization struct {
	// ID is "o-" and 10 to 32 lower-case letters and digits.
	ID string
	// Management is the AWS account ID of the management account, which is one of
	// Accounts. Only it may list them.
	Management string
	// Accounts are listed in this order.
	Accounts []Account
}

// Account is an account of an organization.
type Account struct {
	ID, Name, Email string
	// State is PENDING_ACTIVATION, ACTIVE, SUSPENDED, PENDING_CLOSURE or CLOSED. The
	// default is ACTIVE.
	State string
	// Joined is when the account became a part of the organization.
	Joined time.Time
}

// Service serves Organizations.
type Service struct {
	wire.JSONService
	o operation.Service
}

// New makes the service.
func New(db *bolt.DB, identities *policy.Identities, t *trail.Service) *Service {
	s := &Service{o: operation.Service{Name: "organizations", DB: db, Identities: identities, Trail: t}}
	s.Handlers = map[string]wire.JSONHandler{
		"ListAccounts": operation.Handler(s.o, true, func(*wire.Request, listAccountsInput) []string { return []string{"*"} }, listAccounts),
	}
	return s
}

var (
	organizationID = regexp.MustCompile(`^o-[a-z0-9]{10,32}$`)
	states         = []string{"PENDING_ACTIVATION", "ACTIVE", "SUSPENDED", "PENDING_CLOSURE", "CLOSED"}
)

// Set makes the organization, or replaces it. One without an ID removes it.
func (s *Service) Set(o Organization) error {
	if o.ID == "" {
		return s.o.DB.Update(func(tx *bolt.Tx) error { return store.Remove(tx, Bucket, "organization") })
	}
	if !organizationID.MatchString(o.ID) {
		return fmt.Errorf("localaws: %q is not the ID of an organization", o.ID)
	}
	seen := map[string]bool{}
	for i, a := range o.Accounts {
		if a.State == "" {
			o.Accounts[i].State = "ACTIVE"
		}
		switch {
		case !wire.AccountID.MatchString(a.ID) || seen[a.ID]:
			return fmt.Errorf("localaws: %q is not an account ID, or there twice", a.ID)
		case !slices.Contains(states, o.Accounts[i].State):
			return fmt.Errorf("localaws: %q is not the state of an account", a.State)
		}
		seen[a.ID] = true
	}
	if !seen[o.Management] {
		return errors.New("localaws: the management account is not among the accounts of the organization")
	}
	return s.o.DB.Update(func(tx *bolt.Tx) error { return store.Save(tx, Bucket, "organization", o) })
}

type listAccountsInput struct {
	MaxResults *int   `json:",omitempty"`
	NextToken  string `json:",omitempty"`
}

// maxPage is how many accounts a page has, at most and without MaxResults.
// Source: https://docs.aws.amazon.com/organizations/latest/APIReference/API_ListAccounts.html
const maxPage = 20

// listAccounts shows no Status: AWS announced that State replaces it for
// September 9, 2026.
// Source: https://docs.aws.amazon.com/organizations/latest/APIReference/API_Account.html
func listAccounts(tx *bolt.Tx, r *wire.Request, in listAccountsInput) (any, error) {
	o, ok, err := store.Load[Organization](tx, Bucket, "organization")
	if err != nil {
		return nil, err
	}
	member := slices.ContainsFunc(o.Accounts, func(a Account) bool { return a.ID == r.Who.Account })
	switch {
	case !ok || !member:
		return nil, wire.Errf(http.StatusBadRequest, "AWSOrganizationsNotInUseException", "Your account is not a member of an organization.")
	case r.Who.Account != o.Management:
		return nil, wire.Errf(http.StatusBadRequest, "AccessDeniedException", "You don't have permissions to access this resource.")
	}
	size, from := maxPage, 0
	if in.MaxResults != nil {
		size = *in.MaxResults
	}
	if size < 1 || size > maxPage {
		return nil, wire.Errf(http.StatusBadRequest, "InvalidInputException", "You specified an invalid value for MaxResults: 1 to %d are allowed.", maxPage)
	}
	if in.NextToken != "" {
		if from, err = strconv.Atoi(in.NextToken); err != nil || from < 1 || from >= len(o.Accounts) {
			return nil, wire.Errf(http.StatusBadRequest, "InvalidInputException", "You specified an invalid value for nextToken.")
		}
	}
	to := min(from+size, len(o.Accounts))
	list := []map[string]any{}
	for _, a := range o.Accounts[from:to] {
		method := "CREATED"
		if a.ID == o.Management {
			method = "INVITED"
		}
		list = append(list, map[string]any{
			"Id": a.ID, "Arn": "arn:aws:organizations::" + o.Management + ":account/" + o.ID + "/" + a.ID, "Name": a.Name, "Email": a.Email,
			"State": a.State, "JoinedMethod": method, "JoinedTimestamp": float64(a.Joined.UnixMilli()) / 1000,
		})
	}
	out := map[string]any{"Accounts": list}
	if to < len(o.Accounts) {
		out["NextToken"] = strconv.Itoa(to)
	}
	return out, nil
}
