package localaws

import (
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/stretchr/testify/require"
)

func TestOrganizations_ListAccounts(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	const management = "111111111111"
	client := func(account string) *organizations.Client {
		return organizations.NewFromConfig(awsConfig(t, s, account, noRetries))
	}
	_, err := client(management).ListAccounts(t.Context(), nil)
	requireCode(t, err, "AWSOrganizationsNotInUseException")

	o := Organization{ID: "o-a1b2c3d4e5", Management: management}
	for i := range 45 {
		o.Accounts = append(o.Accounts, OrganizationAccount{ID: fmt.Sprintf("%012d", 111111111111+i), Name: fmt.Sprintf("account %d", i)})
	}
	o.Accounts[7].State = "SUSPENDED"
	require.NoError(t, s.SetOrganization(o))
	var ids []string
	pages := organizations.NewListAccountsPaginator(client(management), &organizations.ListAccountsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		require.NoError(t, err)
		require.LessOrEqual(t, len(page.Accounts), 20)
		for _, a := range page.Accounts {
			ids = append(ids, *a.Id)
			if *a.Id == o.Accounts[7].ID {
				require.Equal(t, "SUSPENDED", string(a.State))
			} else {
				require.Equal(t, "ACTIVE", string(a.State))
			}
		}
	}
	require.Len(t, ids, 45)
	require.Equal(t, "111111111155", ids[44])

	_, err = client("111111111112").ListAccounts(t.Context(), nil)
	requireCode(t, err, "AccessDeniedException")
	_, err = client("999999999999").ListAccounts(t.Context(), nil)
	requireCode(t, err, "AWSOrganizationsNotInUseException")
	_, err = client(management).ListAccounts(t.Context(), &organizations.ListAccountsInput{MaxResults: aws.Int32(21)})
	requireCode(t, err, "InvalidInputException")
	_, err = client(management).ListAccounts(t.Context(), &organizations.ListAccountsInput{NextToken: aws.String("x")})
	requireCode(t, err, "InvalidInputException")

	require.Error(t, s.SetOrganization(Organization{ID: "o-a1b2c3d4e5", Management: "222222222222", Accounts: o.Accounts}))
	require.Error(t, s.SetOrganization(Organization{ID: "o-a1b2c3d4e5", Management: management, Accounts: o.Accounts, FeatureSet: "SOME"}))
	require.Error(t, s.SetOrganization(Organization{ID: "x", Management: management, Accounts: o.Accounts}))
	require.Error(t, s.SetOrganization(Organization{ID: "o-a1b2c3d4e5", Management: management, Accounts: []OrganizationAccount{{ID: management, State: "GONE"}}}))
}

func TestOrganizations_TrustCloudTrail(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	const management, member = "111111111111", "111111111112"
	client := func(account string) *organizations.Client {
		return organizations.NewFromConfig(awsConfig(t, s, account, noRetries))
	}
	enable := func(account, service string) error {
		_, err := client(account).EnableAWSServiceAccess(t.Context(), &organizations.EnableAWSServiceAccessInput{ServicePrincipal: &service})
		return err
	}
	enabled := func() (names []string) {
		t.Helper()
		out, err := client(management).ListAWSServiceAccessForOrganization(t.Context(), nil)
		require.NoError(t, err)
		for _, p := range out.EnabledServicePrincipals {
			names = append(names, *p.ServicePrincipal)
		}
		return names
	}
	o := Organization{ID: "o-a1b2c3d4e5", Management: management, Accounts: []OrganizationAccount{{ID: management}, {ID: member}}}
	require.NoError(t, s.SetOrganization(o))
	require.Empty(t, enabled())
	requireCode(t, enable(member, "cloudtrail.amazonaws.com"), "AccessDeniedException")
	requireCode(t, enable(management, "config.amazonaws.com"), "NotImplemented")
	requireCode(t, enable("999999999999", "cloudtrail.amazonaws.com"), "AWSOrganizationsNotInUseException")
	for range 2 {
		require.NoError(t, enable(management, "cloudtrail.amazonaws.com"))
		require.Equal(t, []string{"cloudtrail.amazonaws.com"}, enabled())
	}
	_, err := client(member).ListAWSServiceAccessForOrganization(t.Context(), nil)
	requireCode(t, err, "AccessDeniedException")
	for account, code := range map[string]string{management: "", member: "", "999999999999": "AWSOrganizationsNotInUseException"} {
		out, err := client(account).DescribeOrganization(t.Context(), nil)
		require.Equal(t, code, apiCode(err))
		if code == "" {
			require.Equal(t, "o-a1b2c3d4e5", *out.Organization.Id)
			require.Equal(t, "ALL", string(out.Organization.FeatureSet))
		}
	}
	// Accounts may change; another organization trusts nothing yet.
	o.Accounts = o.Accounts[:1]
	require.NoError(t, s.SetOrganization(o))
	require.Len(t, enabled(), 1)
	o.ID = "o-b1b2c3d4e5"
	require.NoError(t, s.SetOrganization(o))
	require.Empty(t, enabled())
}
