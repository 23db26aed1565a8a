package audittrail

import (
	"strings"
	"time"
)

// The table over the log files. `verify athena ddl` prints the same one, and a test
// compares the two.
// Source: https://docs.aws.amazon.com/athena/latest/ug/create-cloudtrail-table-partition-projection.html
const (
	tableName = "cloudtrail"

	recordsType = "array<struct<" +
		"eventversion:string," +
		"useridentity:struct<type:string,principalid:string,arn:string,accountid:string,invokedby:string," +
		"sessioncontext:struct<sessionissuer:struct<type:string,principalid:string,arn:string,accountid:string,username:string>>>," +
		"eventtime:string,eventsource:string,eventname:string,awsregion:string,errorcode:string," +
		"requestparameters:string,responseelements:string,eventid:string," +
		"resources:array<struct<arn:string,accountid:string,type:string>>>>"

	serDe = "org.openx.data.jsonserde.JsonSerDe"
	// The formats that Athena records for a table whose DDL names none.
	inputFormat  = "org.apache.hadoop.mapred.TextInputFormat"
	outputFormat = "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat"
)

// partitionKeys are account, where there are several, region and day.
func (a *AuditTrailArgs) partitionKeys() []string {
	if a.OrganizationID != nil {
		return []string{"account", "region", "day"}
	}
	return []string{"region", "day"}
}

// tableParameters are the properties of the table: its partitions are projected, so
// that none has to be added later, not even for an account that joins the organization.
// location ends in a slash.
// Source: https://docs.aws.amazon.com/athena/latest/ug/partition-projection-dynamic-id-partitioning.html
func (a *AuditTrailArgs) tableParameters(location string) map[string]string {
	since, _ := time.Parse(time.DateOnly, a.Since) // validate has parsed it
	parameters := map[string]string{
		"EXTERNAL":                     "TRUE",
		"projection.enabled":           "true",
		"projection.region.type":       "enum",
		"projection.region.values":     strings.Join(a.Regions, ","),
		"projection.day.type":          "date",
		"projection.day.format":        "yyyy/MM/dd",
		"projection.day.range":         since.Format("2006/01/02") + ",NOW",
		"projection.day.interval":      "1",
		"projection.day.interval.unit": "DAYS",
		"storage.location.template":    location + "${region}/${day}",
	}
	if a.OrganizationID != nil {
		parameters["projection.account.type"] = "injected"
		parameters["storage.location.template"] = location + "${account}/CloudTrail/${region}/${day}"
	}
	return parameters
}
