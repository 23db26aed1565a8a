package localaws

import (
	"net/http"
	"slices"
	"strings"
)

// The Regions of the partition aws: those that every account has, and those
// that an account must opt into, which none here has done.
// Source: https://docs.aws.amazon.com/global-infrastructure/latest/regions/aws-regions.html
var (
	regionsEnabled = []string{
		"ap-northeast-1", "ap-northeast-2", "ap-northeast-3", "ap-south-1", "ap-southeast-1", "ap-southeast-2",
		"ca-central-1", "eu-central-1", "eu-north-1", "eu-west-1", "eu-west-2", "eu-west-3",
		"sa-east-1", "us-east-1", "us-east-2", "us-west-1", "us-west-2",
	}
	regionsOptIn = []string{
		"af-south-1", "ap-east-1", "ap-east-2", "ap-south-2", "ap-southeast-3", "ap-southeast-4", "ap-southeast-5",
		"ap-southeast-6", "ap-southeast-7", "ca-west-1", "eu-central-2", "eu-south-1", "eu-south-2", "il-central-1",
		"me-central-1", "me-south-1", "mx-central-1",
	}
)

func regionEnabled(region string) bool { return slices.Contains(regionsEnabled, region) }

type ec2Region struct {
	Name     string `xml:"regionName"`
	Endpoint string `xml:"regionEndpoint"`
	OptIn    string `xml:"optInStatus"`
}

func describeRegions(r *request, _ *trailEvent) (any, error) {
	f := r.form()
	everyRegion, err := formBool(f, "AllRegions")
	if err != nil {
		return nil, err
	}
	names, filters := formList(f, "RegionName"), formFilters(f)
	for _, name := range names {
		if !slices.Contains(regionsEnabled, name) && !slices.Contains(regionsOptIn, name) {
			return nil, errf(http.StatusBadRequest, "InvalidParameterValue", "Invalid region name: %s", name)
		}
	}
	var out struct {
		Regions []ec2Region `xml:"regionInfo>item"`
	}
	add := func(name, optIn string) error {
		region := ec2Region{name, "ec2." + name + ".amazonaws.com", optIn}
		ok, err := filters.match(func(filter string) []string {
			switch filter {
			case "region-name":
				return []string{region.Name}
			case "endpoint":
				return []string{region.Endpoint}
			case "opt-in-status":
				return []string{region.OptIn}
			}
			return nil
		})
		if ok && (len(names) == 0 || slices.Contains(names, name)) {
			out.Regions = append(out.Regions, region)
		}
		return err
	}
	for _, name := range regionsEnabled {
		if err := add(name, "opt-in-not-required"); err != nil {
			return nil, err
		}
	}
	for _, name := range regionsOptIn {
		if everyRegion || slices.Contains(names, name) {
			if err := add(name, "not-opted-in"); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// zones answers with a Region's Availability Zones: three, and six in
// us-east-1.
func zones(region string) []string {
	letters := "abc"
	if region == "us-east-1" {
		letters = "abcdef"
	}
	var names []string
	for _, l := range letters {
		names = append(names, region+string(l))
	}
	return names
}

// zoneID makes the id of the nth zone: use1-az1.
func zoneID(region string, n int) string {
	part := strings.SplitN(region, "-", 3)
	short := strings.NewReplacer("north", "n", "south", "s", "east", "e", "west", "w", "central", "c").Replace(part[1])
	return part[0] + short + part[2] + "-az" + string(rune('1'+n))
}

type ec2Zone struct {
	Name        string `xml:"zoneName"`
	State       string `xml:"zoneState"`
	Region      string `xml:"regionName"`
	OptIn       string `xml:"optInStatus"`
	ID          string `xml:"zoneId"`
	Group       string `xml:"groupName"`
	BorderGroup string `xml:"networkBorderGroup"`
	Type        string `xml:"zoneType"`
}

func describeZones(r *request, _ *trailEvent) (any, error) {
	f := r.form()
	names, ids, filters := formList(f, "ZoneName"), formList(f, "ZoneId"), formFilters(f)
	for _, name := range names {
		if !slices.Contains(zones(r.region), name) {
			return nil, errf(http.StatusBadRequest, "InvalidParameterValue", "Invalid availability zone: [%s]", name)
		}
	}
	var out struct {
		Zones []ec2Zone `xml:"availabilityZoneInfo>item"`
	}
	for i, name := range zones(r.region) {
		zone := ec2Zone{name, "available", r.region, "opt-in-not-required", zoneID(r.region, i), r.region + "-zg-1", r.region, "availability-zone"}
		ok, err := filters.match(func(filter string) []string {
			switch filter {
			case "zone-name":
				return []string{zone.Name}
			case "zone-id":
				return []string{zone.ID}
			case "zone-type":
				return []string{zone.Type}
			case "region-name":
				return []string{zone.Region}
			case "state":
				return []string{zone.State}
			case "opt-in-status":
				return []string{zone.OptIn}
			case "group-name":
				return []string{zone.Group}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		if ok && (len(names) == 0 || slices.Contains(names, zone.Name)) && (len(ids) == 0 || slices.Contains(ids, zone.ID)) {
			out.Zones = append(out.Zones, zone)
		}
	}
	return out, nil
}
