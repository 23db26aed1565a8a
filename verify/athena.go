package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/securethecloud/kms-baseline/verify/logfiles"
)

func newAthena(o *options) *cobra.Command {
	c := &cobra.Command{
		Use:   "athena",
		Short: "Help with --events athena:...",
		Args:  noArgs,
	}
	c.AddCommand(newAthenaDDL(o))
	return c
}

// tableDDL is a table over a trail's log files, as Athena's DDL.
type tableDDL struct {
	table, events, account, organization, since string
	regions                                     []string
}

func newAthenaDDL(o *options) *cobra.Command {
	d := &tableDDL{}
	c := &cobra.Command{
		Use:   "ddl",
		Short: "Print the table over a trail's log files that --events athena:... reads",
		Long: `ddl prints a CREATE EXTERNAL TABLE statement for Athena. The table's partitions are
projected from the Region and the day, so that no partition has to be added later.
With --organization it is a table over the log files of all accounts of an
organization, and each query must name accounts: WHERE account = '111122223333'.
Nothing is called.`,
		Example: `  verify athena ddl --events s3://audit-logs --account 111122223333 --regions us-east-1,eu-west-1 --since 2026-01-01
  verify athena ddl --events s3://audit-logs --organization o-a1b2c3d4e5 --regions us-east-1,eu-west-1 --since 2026-01-01`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			text, err := d.text()
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(o.stdout, text)
			return err
		},
	}
	f := c.Flags()
	f.StringVar(&d.table, "table", "cloudtrail", "name of the table: small letters, digits and underscores")
	f.StringVar(&d.events, "events", "", "where the trail delivers: s3://BUCKET/PREFIX, without AWSLogs")
	f.StringVar(&d.account, "account", "", "AWS account ID of the events")
	f.StringVar(&d.organization, "organization", "", "instead of --account, ID of the organization whose trail it is: o-...")
	f.StringSliceVar(&d.regions, "regions", nil, "Regions of the events")
	f.StringVar(&d.since, "since", "", "first day of the log files: 2026-01-31")
	return c
}

var (
	tableName      = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,127}$`)
	organizationID = regexp.MustCompile(`^o-[a-z0-9]{10,32}$`)
)

// text is the statement. Everything that is put into it is checked before: nothing
// can end a quotation.
func (d *tableDDL) text() (string, error) {
	if d.events == "" || (d.account == "") == (d.organization == "") || len(d.regions) == 0 || d.since == "" {
		return "", errors.New("verify athena ddl needs --events, --account or --organization, --regions and --since")
	}
	location, err := logfiles.ParseLocation(d.events)
	since, dateErr := time.Parse(time.DateOnly, d.since)
	switch {
	case err != nil:
		return "", fmt.Errorf("--events %w", err)
	case strings.ContainsAny(location.Prefix, "'\\\n\r$"):
		return "", fmt.Errorf("--events %q has a character that the statement cannot have: ', \\, $ or a line break", d.events)
	case !tableName.MatchString(d.table):
		return "", fmt.Errorf("--table %q is not the name of a table: small letters, digits and underscores", d.table)
	case d.organization != "" && !organizationID.MatchString(d.organization):
		return "", fmt.Errorf("--organization %q is not the ID of an organization, such as o-a1b2c3d4e5", d.organization)
	case d.organization == "" && !accountID.MatchString(d.account):
		return "", fmt.Errorf("--account %q is not an AWS account ID of 12 digits", d.account)
	case dateErr != nil:
		return "", fmt.Errorf("--since %q is not a day, such as 2026-01-31", d.since)
	}
	for _, r := range d.regions {
		if !regionName.MatchString(r) {
			return "", fmt.Errorf("--regions: %q is not a Region name, such as us-east-1", r)
		}
	}
	folder, account, projection, below := d.account+"/CloudTrail", "", "", ""
	if d.organization != "" {
		folder, account, below = d.organization, "account string, ", "${account}/CloudTrail/"
		projection = "\n  'projection.account.type'='injected',"
	}
	return strings.NewReplacer(
		"TABLE_NAME", d.table, "LOCATION_URI", location.String()+"/AWSLogs/"+folder, "ACCOUNT_KEY", account, "ACCOUNT_PROJECTION", projection, "ACCOUNT_FOLDER", below,
		"REGIONS", strings.Join(d.regions, ","), "SINCE", since.Format("2006/01/02"),
	).Replace(ddl), nil
}

// ddl reads the fields that verify needs; a missing one is null.
// Source: https://docs.aws.amazon.com/athena/latest/ug/create-cloudtrail-table-partition-projection.html
// Source: https://docs.aws.amazon.com/athena/latest/ug/partition-projection-dynamic-id-partitioning.html
const ddl = `CREATE EXTERNAL TABLE TABLE_NAME (
  records array<struct<
    eventversion:string,
    useridentity:struct<type:string,principalid:string,arn:string,accountid:string,invokedby:string,
      sessioncontext:struct<sessionissuer:struct<type:string,principalid:string,arn:string,accountid:string,username:string>>>,
    eventtime:string, eventsource:string, eventname:string, awsregion:string, errorcode:string,
    requestparameters:string, responseelements:string, eventid:string,
    resources:array<struct<arn:string,accountid:string,type:string>>>>)
PARTITIONED BY (ACCOUNT_KEYregion string, day string)
ROW FORMAT SERDE 'org.openx.data.jsonserde.JsonSerDe'
LOCATION 'LOCATION_URI/'
TBLPROPERTIES (
  'projection.enabled'='true',ACCOUNT_PROJECTION
  'projection.region.type'='enum', 'projection.region.values'='REGIONS',
  'projection.day.type'='date', 'projection.day.format'='yyyy/MM/dd', 'projection.day.range'='SINCE,NOW',
  'projection.day.interval'='1', 'projection.day.interval.unit'='DAYS',
  'storage.location.template'='LOCATION_URI/ACCOUNT_FOLDER${region}/${day}')
`
