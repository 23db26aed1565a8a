// Package organizations is AWS Organizations as far as an organization and its
// accounts can be read, and CloudTrail be trusted. An organization is made by
// [Service.Set], not by a client: the operations that make or change one are not
// served.
package organizations

import (
	"cmp"
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

// Bucket has, in the database, the one organization, and which services it trusts.
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
	// FeatureSet is ALL or CONSOLIDATED_BILLING. The default is ALL.
	FeatureSet string
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

// Open makes the service, and shows t the organization.
func Open(db *bolt.DB, identities *policy.Identities, t *trail.Service) (*Service, error) {
	s := &Service{o: operation.Service{Name: "organizations", DB: db, Identities: identities, Trail: t}}
	s.Handlers = map[string]wire.JSONHandler{
		"ListAccounts":                        operation.Handler(s.o, true, anything[listAccountsInput], listAccounts),
		"DescribeOrganization":                operation.Handler(s.o, true, anything[struct{}], describeOrganization),
		"EnableAWSServiceAccess":              operation.Handler(s.o, false, anything[enableServiceInput], s.enableService),
		"ListAWSServiceAccessForOrganization": operation.Handler(s.o, true, anything[listServicesInput], listServices),
	}
	return s, db.Update(s.show)
}

func anything[In any](*wire.Request, In) []string { return []string{"*"} }

var (
	organizationID = regexp.MustCompile(`^o-[a-z0-9]{10,32}$`)
	states         = []string{"PENDING_ACTIVATION", "ACTIVE", "SUSPENDED", "PENDING_CLOSURE", "CLOSED"}
)

// Keys in [Bucket].
const (
	theOrganization = "organization"
	trusted         = "trusted" // when each trusted service was enabled
)

const allFeatures = "ALL"

// cloudTrail is the one service that an organization can trust here.
const cloudTrail = "cloudtrail.amazonaws.com"

// show shows CloudTrail the organization.
func (s *Service) show(tx *bolt.Tx) error {
	o, _, err := store.Load[Organization](tx, Bucket, theOrganization)
	if err != nil {
		return err
	}
	services, _, err := store.Load[map[string]time.Time](tx, Bucket, trusted)
	if err != nil {
		return err
	}
	_, trusts := services[cloudTrail]
	view := trail.Organization{ID: o.ID, Management: o.Management, AllFeatures: o.FeatureSet == allFeatures, Trusts: trusts}
	for _, a := range o.Accounts {
		switch {
		case a.ID == o.Management:
		case a.State == "ACTIVE":
			view.Members = append(view.Members, a.ID)
		default:
			view.Others = append(view.Others, a.ID)
		}
	}
	return s.o.Trail.SetOrganization(tx, view)
}

// Set makes the organization, or replaces it. One without an ID removes it. It trusts
// the services that were enabled for the organization of the same ID.
func (s *Service) Set(o Organization) error {
	if o.ID != "" {
		if err := o.check(); err != nil {
			return err
		}
	}
	return s.o.DB.Update(func(tx *bolt.Tx) error {
		before, _, err := store.Load[Organization](tx, Bucket, theOrganization)
		if err != nil {
			return err
		}
		if before.ID != o.ID {
			if err := store.Remove(tx, Bucket, trusted); err != nil {
				return err
			}
		}
		if o.ID == "" {
			err = store.Remove(tx, Bucket, theOrganization)
		} else {
			err = store.Save(tx, Bucket, theOrganization, o)
		}
		if err != nil {
			return err
		}
		return s.show(tx)
	})
}

// check sets the defaults too.
func (o *Organization) check() error {
	if !organizationID.MatchString(o.ID) {
		return fmt.Errorf("localaws: %q is not the ID of an organization", o.ID)
	}
	o.FeatureSet = cmp.Or(o.FeatureSet, allFeatures)
	if o.FeatureSet != allFeatures && o.FeatureSet != "CONSOLIDATED_BILLING" {
		return fmt.Errorf("localaws: %q is not a feature set: ALL or CONSOLIDATED_BILLING", o.FeatureSet)
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
	return nil
}

// ofCaller is the caller's organization. management demands that the caller is in the
// management account.
func ofCaller(tx *bolt.Tx, r *wire.Request, management bool) (Organization, error) {
	o, ok, err := store.Load[Organization](tx, Bucket, theOrganization)
	if err != nil {
		return o, err
	}
	member := slices.ContainsFunc(o.Accounts, func(a Account) bool { return a.ID == r.Who.Account })
	switch {
	case !ok || !member:
		return o, wire.Errf(http.StatusBadRequest, "AWSOrganizationsNotInUseException", "Your account is not a member of an organization.")
	case management && r.Who.Account != o.Management:
		return o, wire.Errf(http.StatusBadRequest, "AccessDeniedException", "You don't have permissions to access this resource.")
	}
	return o, nil
}

func (o Organization) arn(resource string) string {
	return "arn:aws:organizations::" + o.Management + ":" + resource
}

// describeOrganization answers every account of the organization. Of the policy types,
// which AWS has deprecated there, it shows what a new organization has.
// Source: https://docs.aws.amazon.com/organizations/latest/APIReference/API_DescribeOrganization.html
func describeOrganization(tx *bolt.Tx, r *wire.Request, _ struct{}) (any, error) {
	o, err := ofCaller(tx, r, false)
	if err != nil {
		return nil, err
	}
	policies := []map[string]string{}
	if o.FeatureSet == allFeatures {
		policies = append(policies, map[string]string{"Type": "SERVICE_CONTROL_POLICY", "Status": "ENABLED"})
	}
	email := o.Accounts[slices.IndexFunc(o.Accounts, func(a Account) bool { return a.ID == o.Management })].Email
	return map[string]any{"Organization": map[string]any{
		"Id": o.ID, "Arn": o.arn("organization/" + o.ID), "FeatureSet": o.FeatureSet,
		"MasterAccountArn": o.arn("account/" + o.ID + "/" + o.Management), "MasterAccountId": o.Management, "MasterAccountEmail": email,
		"AvailablePolicyTypes": policies,
	}}, nil
}

type enableServiceInput struct{ ServicePrincipal string }

// enableService makes the organization trust CloudTrail.
// Source: https://docs.aws.amazon.com/organizations/latest/APIReference/API_EnableAWSServiceAccess.html
func (s *Service) enableService(tx *bolt.Tx, r *wire.Request, in enableServiceInput) (any, error) {
	o, err := ofCaller(tx, r, true)
	switch {
	case err != nil:
		return nil, err
	case in.ServicePrincipal != cloudTrail:
		return nil, wire.NotImplemented(r.Service, "the ServicePrincipal "+in.ServicePrincipal+" of EnableAWSServiceAccess")
	case o.FeatureSet != allFeatures:
		return nil, wire.NotImplemented(r.Service, "EnableAWSServiceAccess in an organization without all features")
	}
	services, _, err := store.Load[map[string]time.Time](tx, Bucket, trusted)
	if _, ok := services[cloudTrail]; ok || err != nil {
		return struct{}{}, err
	}
	if err := store.Save(tx, Bucket, trusted, map[string]time.Time{cloudTrail: r.Now}); err != nil {
		return nil, err
	}
	return struct{}{}, s.show(tx)
}

type listServicesInput struct {
	MaxResults *int   `json:",omitempty"`
	NextToken  string `json:",omitempty"`
}

// listServices never has a second page.
// Source: https://docs.aws.amazon.com/organizations/latest/APIReference/API_ListAWSServiceAccessForOrganization.html
func listServices(tx *bolt.Tx, r *wire.Request, in listServicesInput) (any, error) {
	if _, err := ofCaller(tx, r, true); err != nil {
		return nil, err
	}
	if in.MaxResults != nil && (*in.MaxResults < 1 || *in.MaxResults > maxPage) {
		return nil, wire.Errf(http.StatusBadRequest, "InvalidInputException", "You specified an invalid value for MaxResults: 1 to %d are allowed.", maxPage)
	}
	if in.NextToken != "" {
		return nil, wire.Errf(http.StatusBadRequest, "InvalidInputException", "You specified an invalid value for nextToken.")
	}
	services, _, err := store.Load[map[string]time.Time](tx, Bucket, trusted)
	list := []map[string]any{}
	for name, enabled := range services {
		list = append(list, map[string]any{"ServicePrincipal": name, "DateEnabled": float64(enabled.UnixMilli()) / 1000})
	}
	return map[string]any{"EnabledServicePrincipals": list}, err
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
	o, err := ofCaller(tx, r, true)
	if err != nil {
		return nil, err
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
			"Id": a.ID, "Arn": o.arn("account/" + o.ID + "/" + a.ID), "Name": a.Name, "Email": a.Email,
			"State": a.State, "JoinedMethod": method, "JoinedTimestamp": float64(a.Joined.UnixMilli()) / 1000,
		})
	}
	out := map[string]any{"Accounts": list}
	if to < len(o.Accounts) {
		out["NextToken"] = strconv.Itoa(to)
	}
	return out, nil
}
