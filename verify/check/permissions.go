package check

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"path"
	"slices"
	"strings"

	"github.com/securethecloud/kms-baseline/verify/logfiles"
)

// Permission is an IAM action that a check needs, and its resource.
type Permission struct {
	Action string
	On     scope
}

// scope is the kind of resource of an action.
type scope int

const (
	onAnything     scope = iota // the action has no resource types
	onKey                       // the named keys
	onAnyKey                    // keys that AWS names in a response
	onKeyThroughS3              // the named keys, used by S3 for the caller
	onBucket
	onObjects
	onEveryObject // of the bucket, also where Config names some
	onCanary
	onLogBucket       // the bucket of the trail that Config.Events names
	onLogFiles        // its log files and digest files
	onLogKeyThroughS3 // the trail's key, used by S3 for the caller
)

var scopeNames = map[scope]string{
	onAnything: "Account", onKey: "Key", onAnyKey: "AnyKey", onKeyThroughS3: "KeyThroughS3",
	onBucket: "Bucket", onObjects: "Objects", onEveryObject: "EveryObject", onCanary: "Canary", onLogBucket: "LogBucket", onLogFiles: "LogFiles", onLogKeyThroughS3: "LogKeyThroughS3",
}

type iamPolicy struct {
	Version   string
	Statement []iamStatement
}

type iamStatement struct {
	Sid       string
	Effect    string
	Action    []string
	Resource  []string
	Condition map[string]map[string]string `json:",omitempty"`
}

var lookupNeed = Permission{"cloudtrail:LookupEvents", onAnything}

// filesNeed are the permissions that a trail's log files take, in place of
// cloudtrail:LookupEvents. The folders of an organization's trail have its ID.
var filesNeed = []Permission{
	{"cloudtrail:DescribeTrails", onAnything}, {"cloudtrail:GetTrailStatus", onAnything}, {"cloudtrail:ListPublicKeys", onAnything},
	{"organizations:DescribeOrganization", onAnything},
	{"s3:ListBucket", onLogBucket}, {"s3:GetObject", onLogFiles}, {"kms:Decrypt", onLogKeyThroughS3},
}

// Policy returns the least IAM policy that the checks which cfg selects need, as
// JSON for aws iam put-role-policy. If cfg names no key, bucket or Region, the
// policy covers all of them; so it does for keys named by an alias, which a
// policy's resources cannot express. It makes no calls.
func Policy(cfg Config) ([]byte, error) {
	cfg.Events = cmp.Or(cfg.Events, lookup)
	if err := errors.Join(checkEvents(cfg.Events), checkInventory(cfg.Inventory)); err != nil {
		return nil, err
	}
	selected, err := cfg.choose()
	if err != nil {
		return nil, err
	}
	actions := map[scope][]string{}
	asksEvents := false
	for _, c := range Catalogue {
		if !selected[c.ID] || c.Group == "canary" && !cfg.Canary || c.FilesOnly && cfg.Events == lookup {
			continue
		}
		needs := slices.Clone(c.Needs)
		asksEvents = asksEvents || slices.Contains(needs, lookupNeed)
		if i := slices.Index(needs, lookupNeed); i >= 0 && cfg.Events != lookup {
			needs = slices.Replace(needs, i, i+1, filesNeed...)
		} else if c.FilesOnly {
			needs = append(needs, filesNeed...)
		}
		for _, p := range needs {
			actions[p.On] = append(actions[p.On], p.Action)
		}
	}
	if cfg.Versions && selected["object.encryption"] {
		actions[onObjects] = append(actions[onObjects], "s3:GetObjectVersion")
		actions[onBucket] = append(actions[onBucket], "s3:ListBucketVersions")
	}
	if cfg.Events != lookup && selected["bucket.foreign-keys"] {
		asksEvents = true
		for _, p := range append(slices.Clone(filesNeed), placementNeeds...) {
			actions[p.On] = append(actions[p.On], p.Action)
		}
	}
	if cfg.AccessAnalyzer && (selected["key.policy"] || selected["bucket.policy"]) {
		actions[analyzerNeeds.On] = append(actions[analyzerNeeds.On], analyzerNeeds.Action)
	}
	p := iamPolicy{Version: "2012-10-17"}
	for on := onAnything; on <= onLogKeyThroughS3; on++ {
		if len(actions[on]) == 0 {
			continue
		}
		s := iamStatement{Sid: "Verify" + scopeNames[on], Effect: "Allow", Action: slices.Compact(slices.Sorted(slices.Values(actions[on]))), Resource: cfg.resources(on)}
		switch {
		// The name ends so in every partition.
		// Source: https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-via-service
		case on == onKeyThroughS3 && cfg.AWS.Region != "":
			s.Condition = map[string]map[string]string{"StringEquals": {"kms:ViaService": "s3." + cfg.AWS.Region + ".amazonaws.com"}}
		case on == onKeyThroughS3, on == onLogKeyThroughS3: // the trail's bucket may be in another Region
			s.Condition = map[string]map[string]string{"StringLike": {"kms:ViaService": "s3.*.amazonaws.com"}}
		}
		p.Statement = append(p.Statement, s)
	}
	if asksEvents {
		p.Statement = append(p.Statement, cfg.sqlNeeds("VerifyEvents", cfg.Events, "athena:GetTableMetadata")...)
	}
	if selected["object.encryption"] {
		p.Statement = append(p.Statement, cfg.sqlNeeds("VerifyInventory", cfg.Inventory)...)
	}
	if len(p.Statement) == 0 {
		// IAM refuses a policy without a statement. Every caller may do this.
		p.Statement = []iamStatement{{Sid: "VerifyAccount", Effect: "Allow", Action: []string{"sts:GetCallerIdentity"}, Resource: []string{"*"}}}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err = e.Encode(p)
	return b.Bytes(), err
}

// The buckets that only the table and the workgroup name: a policy with these ARNs
// grants nothing on them until they are replaced.
const (
	TableBucket   = "TABLE-BUCKET"
	ResultsBucket = "RESULTS-BUCKET"
)

// sqlNeeds are the statements for a table that Athena reads; none for another
// source. catalogActions are what verify asks of Athena's catalog besides.
// Source: https://docs.aws.amazon.com/athena/latest/ug/security-iam-athena.html
// Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/metadata-tables-bucket-query-permissions.html
func (c Config) sqlNeeds(sid, value string, catalogActions ...string) []iamStatement {
	workgroup, t, ok := athenaName(value)
	if !ok {
		return nil
	}
	part, region, owner := partition(c.AWS.Region), cmp.Or(c.AWS.Region, "*"), cmp.Or(c.Account, "*")
	arn := func(service, resource string) string {
		return "arn:" + part + ":" + service + ":" + region + ":" + owner + ":" + literal.Replace(resource)
	}
	in := "" // of the catalog, in the names of databases and tables
	glue := []string{arn("glue", "catalog")}
	catalogs := []string{"glue:GetDatabase", "glue:GetPartitions", "glue:GetTable", "glue:GetTables"}
	if t[0] != glueCatalog {
		in = t[0] + "/"
		parent, _, _ := strings.Cut(t[0], "/")
		glue = append(glue, arn("glue", "catalog/"+parent), arn("glue", "catalog/"+t[0]))
		catalogs = append([]string{"glue:GetCatalog"}, catalogs...)
	}
	glue = append(glue, arn("glue", "database/"+in+t[1]), arn("glue", "table/"+in+t[1]+"/"+t[2]))
	list := []iamStatement{
		{Sid: sid + "Queries", Effect: "Allow", Action: []string{"athena:GetQueryExecution", "athena:GetQueryResults", "athena:StartQueryExecution", "athena:StopQueryExecution"}, Resource: []string{arn("athena", "workgroup/"+workgroup)}},
		{Sid: sid + "Table", Effect: "Allow", Action: catalogs, Resource: slices.Compact(glue)},
	}
	if len(catalogActions) > 0 {
		list = append(list, iamStatement{Sid: sid + "Catalog", Effect: "Allow", Action: catalogActions, Resource: []string{arn("athena", "datacatalog/"+t[0])}})
	}
	if bucket, ok := strings.CutPrefix(t[0], "s3tablescatalog/"); ok {
		list = append(list,
			iamStatement{Sid: sid + "Data", Effect: "Allow", Action: []string{"s3tables:GetTable", "s3tables:GetTableData", "s3tables:GetTableMetadataLocation"},
				Resource: []string{arn("s3tables", "bucket/"+bucket), arn("s3tables", "bucket/"+bucket+"/table/") + "*"}},
			iamStatement{Sid: sid + "Access", Effect: "Allow", Action: []string{"lakeformation:GetDataAccess"}, Resource: []string{"*"}})
	} else {
		data := "arn:" + part + ":s3:::" + TableBucket
		list = append(list, iamStatement{Sid: sid + "Data", Effect: "Allow", Action: []string{"s3:GetObject", "s3:ListBucket"}, Resource: []string{data, data + "/*"}})
	}
	results := "arn:" + part + ":s3:::" + ResultsBucket
	return append(list, iamStatement{Sid: sid + "Results", Effect: "Allow", Action: []string{"s3:GetBucketLocation", "s3:GetObject", "s3:PutObject"}, Resource: []string{results, results + "/*"}})
}

// resources are the ARNs for a scope.
func (c Config) resources(on scope) []string {
	part, region, owner, bucket := partition(c.AWS.Region), "*", "*", "*"
	if c.AWS.Region != "" {
		region = c.AWS.Region
	}
	if c.Account != "" {
		owner = c.Account
	}
	if c.Bucket != "" {
		bucket = c.Bucket
	}
	anyKey := []string{"arn:" + part + ":kms:" + region + ":" + owner + ":key/*"}
	s3 := "arn:" + part + ":s3:::" + bucket
	switch on {
	case onKey:
		if len(c.Keys) > 0 && !slices.ContainsFunc(c.Keys, notARN) {
			return c.Keys
		}
		return anyKey
	case onKeyThroughS3:
		if len(c.Keys) > 0 && !notARN(c.Keys[0]) {
			return c.Keys[:1]
		}
		return anyKey
	case onAnyKey:
		return []string{"arn:" + part + ":kms:" + region + ":*:key/*"} // the response may name a key of another account
	case onBucket:
		return []string{s3}
	case onEveryObject:
		return []string{s3 + "/*"}
	case onCanary:
		return []string{s3 + "/" + CanaryPrefix + "*"}
	case onLogBucket:
		if readsSQL(c.Events) {
			return []string{"arn:" + part + ":s3:::" + TableBucket}
		}
		return []string{"arn:" + part + ":s3:::" + logBucket(c.Events)}
	case onLogFiles:
		if readsSQL(c.Events) { // the trail may have a prefix
			return []string{"arn:" + part + ":s3:::" + TableBucket + "/*"}
		}
		at, _ := logfiles.ParseLocation(c.Events) // checked by Policy
		return []string{"arn:" + part + ":s3:::" + path.Join(at.Bucket, literal.Replace(at.Prefix), "AWSLogs") + "/*"}
	case onLogKeyThroughS3:
		return []string{"arn:" + part + ":kms:*:*:key/*"} // the trail names it
	case onObjects:
		if c.Bucket == "" || len(c.Objects) == 0 && c.Prefix == nil {
			return []string{s3 + "/*"}
		}
		var arns []string
		for _, o := range c.Objects {
			arns = append(arns, s3+"/"+literal.Replace(o))
		}
		if c.Prefix != nil {
			arns = append(arns, s3+"/"+literal.Replace(*c.Prefix)+"*")
		}
		return arns
	}
	return []string{"*"}
}

// notARN reports whether a key was named by its ID or an alias.
func notARN(key string) bool { return !strings.Contains(key, ":key/") }

// literal escapes the wildcards and variables of a policy.
var literal = strings.NewReplacer("*", "${*}", "?", "${?}", "$", "${$}")
