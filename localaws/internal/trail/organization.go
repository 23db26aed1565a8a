package trail

import (
	"fmt"
	"net/http"
	"slices"

	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// Trails of an organization: one in its management account logs the events of all its
// accounts, which see it and cannot change it.
// Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/creating-trail-organization.html

// Organization is what trails need to know of the organization. The zero value is none.
type Organization struct {
	ID         string
	Management string   // AWS account ID of the management account
	Members    []string // AWS account IDs of the other accounts, as far as they are active
	Others     []string // AWS account IDs of the accounts that are not active
	// AllFeatures is whether it has all features, and not consolidated billing alone.
	AllFeatures bool
	// Trusts is whether it trusts CloudTrail.
	Trusts bool
}

// SetOrganization sets the organization, once the transaction is committed. It refuses
// to take the organization away from a trail.
func (s *Service) SetOrganization(tx *bolt.Tx, o Organization) error {
	for _, t := range *s.trails.Load() {
		if t.Organization != "" && (t.Organization != o.ID || t.Account != o.Management) {
			return fmt.Errorf("localaws: %s is a trail of the organization %s, so that it must exist and its management account cannot change", t.arn(), t.Organization)
		}
	}
	tx.OnCommit(func() { s.organization.Store(&o) })
	return nil
}

// isSharedWith reports whether the trail is one of the organization, and the account an
// active member of it.
func (t trailConfig) isSharedWith(o *Organization, account string) bool {
	return t.Organization != "" && slices.Contains(o.Members, account)
}

// accounts are those whose events the trail logs.
func (s *Service) accounts(t trailConfig) []string {
	if t.Organization == "" {
		return []string{t.Account}
	}
	return append([]string{t.Account}, s.organization.Load().Members...)
}

func errNotManagement() error {
	return wire.Errf(http.StatusBadRequest, "NotOrganizationMasterAccountException", "The account is not the management account of the organization.")
}

// dependencies are the actions that AWS documents as the least that a caller needs to
// create a trail of an organization.
// Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/creating-an-organizational-trail-prepare.html
var dependencies = []string{
	"iam:GetRole", "iam:CreateServiceLinkedRole", "organizations:DescribeOrganization", "organizations:ListAccounts",
	"organizations:ListAWSServiceAccessForOrganization", "organizations:EnableAWSServiceAccess", "organizations:DisableAWSServiceAccess",
}

// setOrganization applies the parameter IsOrganizationTrail.
func (s *Service) setOrganization(t *trailConfig, r *wire.Request, is *bool) error {
	if is == nil || !*is {
		if is != nil && t.Organization != "" {
			return wire.NotImplemented(r.Service, "changing IsOrganizationTrail from true to false with "+r.Operation)
		}
		return nil
	}
	o := s.organization.Load()
	switch {
	case o.Management == r.Who.Account:
	case slices.Contains(o.Members, r.Who.Account), slices.Contains(o.Others, r.Who.Account):
		return errNotManagement()
	default:
		return wire.Errf(http.StatusBadRequest, "OrganizationsNotInUseException", "The account is not a member of an organization.")
	}
	if !o.AllFeatures {
		return wire.Errf(http.StatusBadRequest, "OrganizationNotInAllFeaturesModeException", "The organization does not have all features enabled.")
	}
	if !o.Trusts {
		return wire.Errf(http.StatusBadRequest, "CloudTrailAccessNotEnabledException", "The organization does not trust %s.", principal)
	}
	for _, action := range dependencies {
		if s.identities.Refusal(r, action) != "" {
			return wire.Errf(http.StatusBadRequest, "InsufficientDependencyServiceAccessPermissionException", "The caller may not call %s.", action)
		}
	}
	t.Organization = o.ID
	return nil
}
