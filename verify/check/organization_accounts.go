package check

import (
	"context"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/organizations/types"

	"github.com/securethecloud/kms-baseline/verify/report"
)

// ListAccounts lists all accounts of the caller's organization: the caller is in
// its management account, or in that of a delegated administrator. An account that
// is not active cannot be examined: it is listed with the reason.
// Source: https://docs.aws.amazon.com/organizations/latest/APIReference/API_ListAccounts.html
//
// It returns the endpoints that it called, too.
func ListAccounts(ctx context.Context, cfg aws.Config) ([]AccountName, []report.Endpoint, error) {
	var list []AccountName
	seen := RecordEndpoints(cfg.HTTPClient)
	cfg = cfg.Copy()
	cfg.HTTPClient = seen
	pages := organizations.NewListAccountsPaginator(organizations.NewFromConfig(cfg), &organizations.ListAccountsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, nil, err
		}
		for _, a := range page.Accounts {
			account := AccountName{ID: aws.ToString(a.Id), Name: aws.ToString(a.Name)}
			// State replaces Status, which AWS announced to retire in September 2026.
			switch {
			case a.State == types.AccountStateActive, a.State == "" && a.Status == types.AccountStatusActive:
			case a.State != "":
				account.NotExamined = notActive(string(a.State))
			case a.Status != "":
				account.NotExamined = notActive(string(a.Status))
			default:
				account.NotExamined = "AWS Organizations shows no state of the account"
			}
			list = append(list, account)
		}
	}
	return list, seen.list(""), nil
}

func notActive(state string) string {
	return fmt.Sprintf("the account is not active: %s", strings.ToLower(strings.ReplaceAll(state, "_", " ")))
}
