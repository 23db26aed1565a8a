package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/athena"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	trailtypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
)

// What a component AuditTrail makes of fixed names, by which a second one cannot be
// made: an up that was cut off has left it where the next one says that it exists. Its
// key and its buckets can be made twice, as those of other components.

// trailForm is what the name of a trail may consist of.
var trailForm = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{1,126}[a-zA-Z0-9]$`)

// What the component calls the workgroup and the database of a trail, and its table.
const (
	workgroupOf = "queries of the trail "
	databaseOf  = "log files of the trail "
	trailsTable = "cloudtrail"
)

// TrailOrphans looks in cfg's Region for what a deployment of the component AuditTrail
// with the trail name has left. logging is when the trail began to log. Such a trail is
// in use, with its workgroup and its database: orphans are keys and buckets that are
// like its own. The zero time is that of a trail that has never logged, or that does not
// exist: orphans are what is there of the trail, its workgroup and its database, and
// keys and buckets are not looked for, because the stack may not have finished them.
func TrailOrphans(ctx context.Context, cfg Config, name string) (logging time.Time, found []Orphan, err error) {
	if cfg.AWS.Region == "" {
		return logging, nil, &InputError{"no Region: name it, or set AWS_REGION"}
	}
	if !trailForm.MatchString(name) {
		return logging, nil, &InputError{fmt.Sprintf("%q is not the name of a trail", name)}
	}
	trail, logging, err := trailNamed(ctx, cfg.AWS, name)
	if err != nil {
		return logging, nil, err
	}
	workgroup, results, err := workgroupNamed(ctx, cfg.AWS, name)
	if err != nil {
		return logging, nil, err
	}
	if !logging.IsZero() {
		found, err = likeTrail(ctx, cfg, trail, results)
		return logging, found, err
	}
	if trail != nil {
		found = append(found, Orphan{Trail: name})
	}
	if workgroup.Workgroup != "" {
		found = append(found, workgroup)
	}
	databases, err := databasesOf(ctx, cfg.AWS, name)
	return logging, append(found, databases...), err
}

// likeTrail are the orphans that are like the key and the buckets of a trail.
func likeTrail(ctx context.Context, cfg Config, trail *trailtypes.Trail, results string) (found []Orphan, err error) {
	logs := cfg
	logs.Keys, logs.Bucket = nil, aws.ToString(trail.S3BucketName)
	if key := aws.ToString(trail.KmsKeyId); key != "" {
		logs.Keys = []string{key}
	}
	queried := cfg
	queried.Keys, queried.Bucket = nil, results
	for _, own := range []Config{logs, queried} {
		like, err := LikenessOf(ctx, own)
		if err != nil && !errors.As(err, new(*InputError)) { // of a key without a description, which has no like
			return nil, err
		}
		if like.Description == "" && like.BucketPrefix == "" {
			continue
		}
		orphans, err := Orphans(ctx, own, like)
		if err != nil {
			return nil, err
		}
		found = append(found, orphans...)
	}
	return found, nil
}

// trailNamed is the Region's trail of a name, nil for none, and when it began to log.
func trailNamed(ctx context.Context, cfg aws.Config, name string) (*trailtypes.Trail, time.Time, error) {
	client := cloudtrail.NewFromConfig(cfg)
	out, err := client.DescribeTrails(ctx, &cloudtrail.DescribeTrailsInput{IncludeShadowTrails: aws.Bool(false)})
	if err != nil {
		return nil, time.Time{}, called("cloudtrail:DescribeTrails", err)
	}
	i := slices.IndexFunc(out.TrailList, func(t trailtypes.Trail) bool { return aws.ToString(t.Name) == name })
	if i < 0 {
		return nil, time.Time{}, nil
	}
	status, err := client.GetTrailStatus(ctx, &cloudtrail.GetTrailStatusInput{Name: out.TrailList[i].TrailARN})
	if err != nil {
		return nil, time.Time{}, called("cloudtrail:GetTrailStatus", err)
	}
	return &out.TrailList[i], aws.ToTime(status.StartLoggingTime).UTC(), nil
}

// workgroupNamed is the workgroup of the component, and the bucket of its results.
func workgroupNamed(ctx context.Context, cfg aws.Config, name string) (o Orphan, results string, err error) {
	client := athena.NewFromConfig(cfg)
	pages := athena.NewListWorkGroupsPaginator(client, &athena.ListWorkGroupsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return o, "", called("athena:ListWorkGroups", err)
		}
		for _, w := range page.WorkGroups {
			if aws.ToString(w.Name) != name || aws.ToString(w.Description) != workgroupOf+name {
				continue
			}
			out, err := client.GetWorkGroup(ctx, &athena.GetWorkGroupInput{WorkGroup: w.Name})
			if err != nil {
				return o, "", called("athena:GetWorkGroup", err)
			}
			if c := out.WorkGroup.Configuration; c != nil && c.ResultConfiguration != nil {
				results, _, _ = strings.Cut(strings.TrimPrefix(aws.ToString(c.ResultConfiguration.OutputLocation), "s3://"), "/")
			}
			return Orphan{Workgroup: name, Made: aws.ToTime(w.CreationTime).UTC()}, results, nil
		}
	}
	return o, "", nil
}

// databasesOf are the databases of the component: the table is in one, and no other.
func databasesOf(ctx context.Context, cfg aws.Config, name string) ([]Orphan, error) {
	client := athena.NewFromConfig(cfg)
	var found []Orphan
	pages := athena.NewListDatabasesPaginator(client, &athena.ListDatabasesInput{CatalogName: aws.String(glueCatalog)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, called("athena:ListDatabases", err)
		}
		for _, d := range page.DatabaseList {
			if aws.ToString(d.Description) != databaseOf+name {
				continue
			}
			o := Orphan{Database: aws.ToString(d.Name)}
			tables := athena.NewListTableMetadataPaginator(client, &athena.ListTableMetadataInput{CatalogName: aws.String(glueCatalog), DatabaseName: d.Name})
			for tables.HasMorePages() {
				page, err := tables.NextPage(ctx)
				if err != nil {
					return nil, called("athena:ListTableMetadata", err)
				}
				for _, t := range page.TableMetadataList {
					if n := aws.ToString(t.Name); n != trailsTable {
						o.Doubt = cmp.Or(o.Doubt, "it has the table "+n+" too")
					}
				}
			}
			found = append(found, o)
		}
	}
	return found, nil
}
