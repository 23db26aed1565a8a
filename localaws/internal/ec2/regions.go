package ec2

import (
	"net/http"
	"slices"
	"strings"

	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// Regions and Availability Zones.

type ec2Region struct {
	Name     string `xml:"regionName"`
	Endpoint string `xml:"regionEndpoint"`
	OptIn    string `xml:"optInStatus"`
}

func describeRegions(c *call) (any, error) {
	f := c.Form()
	everyRegion, err := formBool(f, "AllRegions")
	if err != nil {
		return nil, err
	}
	names, filters := formList(f, "RegionName"), formFilters(f)
	for _, name := range names {
		if !slices.Contains(wire.RegionsEnabled, name) && !slices.Contains(wire.RegionsOptIn, name) {
			return nil, wire.Errf(http.StatusBadRequest, "InvalidParameterValue", "Invalid region name: %s", name)
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
	for _, name := range wire.RegionsEnabled {
		if err := add(name, "opt-in-not-required"); err != nil {
			return nil, err
		}
	}
	for _, name := range wire.RegionsOptIn {
		if everyRegion || slices.Contains(names, name) {
			if err := add(name, "not-opted-in"); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// zones returns a Region's Availability Zones: three, and six in
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

// cutZone is the Region of a zone, and which of its zones it is.
func cutZone(name string) (region string, n int) {
	if name == "" { // of no volume
		return "", 0
	}
	return name[:len(name)-1], int(name[len(name)-1] - 'a')
}

// zoneID makes the id of the nth zone: use1-az1.
func zoneID(region string, n int) string {
	if region == "" {
		return ""
	}
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

func describeZones(c *call) (any, error) {
	f := c.Form()
	names, ids, filters := formList(f, "ZoneName"), formList(f, "ZoneId"), formFilters(f)
	for _, name := range names {
		if !slices.Contains(zones(c.Region), name) {
			return nil, wire.Errf(http.StatusBadRequest, "InvalidParameterValue", "Invalid availability zone: [%s]", name)
		}
	}
	var out struct {
		Zones []ec2Zone `xml:"availabilityZoneInfo>item"`
	}
	for i, name := range zones(c.Region) {
		zone := ec2Zone{name, "available", c.Region, "opt-in-not-required", zoneID(c.Region, i), c.Region + "-zg-1", c.Region, "availability-zone"}
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
