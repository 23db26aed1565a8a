package ec2

import (
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/store"
	"github.com/securethecloud/kms-baseline/localaws/internal/trail"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// ebsSnapshot is a snapshot of a volume: encrypted as the volume was, under the
// same data key.
type ebsSnapshot struct {
	ID          string            `json:"id"`
	Volume      string            `json:"volume"`
	Size        int               `json:"size"` // GiB
	Description string            `json:"description,omitempty"`
	KeyARN      string            `json:"keyArn,omitempty"`  // empty: not encrypted
	DataKey     []byte            `json:"dataKey,omitempty"` // wrapped under the key
	Created     time.Time         `json:"created"`
	Tags        map[string]string `json:"tags,omitempty"`
}

type ebsSnapshotAnswer struct {
	ID          string   `xml:"snapshotId"`
	Volume      string   `xml:"volumeId"`
	Status      string   `xml:"status"`
	Created     string   `xml:"startTime"`
	Progress    string   `xml:"progress"`
	Owner       string   `xml:"ownerId"`
	Size        int      `xml:"volumeSize"`
	Description string   `xml:"description"`
	Tags        []ec2Tag `xml:"tagSet>item,omitempty"`
	Encrypted   bool     `xml:"encrypted"`
	KeyID       string   `xml:"kmsKeyId,omitempty"`
	Tier        string   `xml:"storageTier"`
}

func (s ebsSnapshot) answer(owner, status string) ebsSnapshotAnswer {
	a := ebsSnapshotAnswer{
		ID: s.ID, Volume: s.Volume, Status: status, Created: s.Created.UTC().Format("2006-01-02T15:04:05.000Z"), Owner: owner, Size: s.Size,
		Description: s.Description, Tags: sortedTags(s.Tags), Encrypted: s.KeyARN != "", KeyID: s.KeyARN, Tier: "standard",
	}
	if status == "completed" {
		a.Progress = "100%"
	}
	return a
}

func (c *call) snapshotRecord(id string) trail.Resource {
	return trail.Resource{ARN: "arn:aws:ec2:" + c.Region + "::snapshot/" + id, Type: "AWS::EC2::Snapshot"}
}

var snapshotID = regexp.MustCompile(`^snap-([0-9a-f]{8}|[0-9a-f]{17})$`)

func createSnapshot(c *call) (any, error) {
	f := c.Form()
	if f.Get("VolumeId") == "" {
		return nil, missingParameter("VolumeId")
	}
	s := ebsSnapshot{ID: newEC2ID("snap-"), Volume: f.Get("VolumeId"), Description: f.Get("Description"), Created: c.Now}
	if len(s.Description) > 255 {
		return nil, wire.Errf(http.StatusBadRequest, "InvalidParameterValue", "The description has more than 255 characters.")
	}
	var err error
	if s.Tags, err = tagsOf(f, "snapshot"); err != nil {
		return nil, err
	}
	err = c.commit(func(tx *bolt.Tx) error {
		v, err := c.loadVolume(tx, s.Volume)
		if err != nil {
			return err
		}
		s.Size, s.KeyARN, s.DataKey = v.Size, v.KeyARN, v.DataKey
		c.event.Resources = []trail.Resource{c.snapshotRecord(s.ID), volumeARN(c, s.Volume)}
		c.event.Response = map[string]any{
			"requestId": c.ID, "snapshotId": s.ID, "volumeId": s.Volume, "status": "pending", "startTime": s.Created.UnixMilli(),
			"ownerId": c.Who.Account, "volumeSize": strconv.Itoa(s.Size), "encrypted": s.KeyARN != "",
		}
		return store.Save(tx, SnapshotBucket, c.ec2Key(s.ID), s)
	})
	if err != nil {
		return nil, err
	}
	return s.answer(c.Who.Account, "pending"), nil
}

func (c *call) loadSnapshot(tx *bolt.Tx, id string) (ebsSnapshot, error) {
	if !snapshotID.MatchString(id) {
		return ebsSnapshot{}, wire.Errf(http.StatusBadRequest, "InvalidParameterValue", "Value (%s) for parameter snapshotId is invalid. Expected: 'snap-...'.", id)
	}
	s, ok, err := store.Load[ebsSnapshot](tx, SnapshotBucket, c.ec2Key(id))
	if err == nil && !ok {
		err = wire.Errf(http.StatusBadRequest, "InvalidSnapshot.NotFound", "The snapshot '%s' does not exist.", id)
	}
	return s, err
}

// filter returns a snapshot's values under a filter's name.
// Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeSnapshots.html
func (s ebsSnapshot) filter(owner string) func(name string) []string {
	return func(name string) []string {
		switch name {
		case "owner-alias":
			return []string{} // the caller's own have none
		case "description":
			return []string{s.Description}
		case "progress":
			return []string{"100%"}
		case "start-time":
			return []string{s.Created.UTC().Format("2006-01-02T15:04:05.000Z")}
		case "storage-tier", "transfer-type":
			return []string{"standard"}
		case "volume-size":
			return []string{strconv.Itoa(s.Size)}
		case "snapshot-id":
			return []string{s.ID}
		case "volume-id":
			return []string{s.Volume}
		case "encrypted":
			return []string{strconv.FormatBool(s.KeyARN != "")}
		case "owner-id":
			return []string{owner}
		case "status":
			return []string{"completed"}
		}
		return tagFilter(s.Tags, name)
	}
}

// describeSnapshots returns the caller's own: there are no public ones
// here, and none is shared.
func describeSnapshots(c *call) (any, error) {
	f, owner := c.Form(), c.Who.Account
	ids, owners, filters := formList(f, "SnapshotId"), formList(f, "Owner"), formFilters(f)
	if _, err := filters.match(ebsSnapshot{}.filter(owner)); err != nil {
		return nil, err
	}
	size, after, err := ec2Page(f, snapshotID, "snapshotSet", len(ids) > 0)
	if err != nil {
		return nil, err
	}
	own := len(owners) == 0 || slices.Contains(owners, "self") || slices.Contains(owners, owner)
	var out struct {
		Snapshots []ebsSnapshotAnswer `xml:"snapshotSet>item"`
		NextToken string              `xml:"nextToken,omitempty"`
	}
	err = c.s.db.View(func(tx *bolt.Tx) error {
		for _, id := range ids {
			if _, err := c.loadSnapshot(tx, id); err != nil {
				return err
			}
		}
		return store.Each(tx, SnapshotBucket, c.ec2Key(""), func(_ string, s ebsSnapshot) error {
			ok, err := filters.match(s.filter(owner))
			if ok && own && s.ID > after && (len(ids) == 0 || slices.Contains(ids, s.ID)) {
				out.Snapshots = append(out.Snapshots, s.answer(owner, "completed"))
			}
			return err
		})
	})
	out.Snapshots, out.NextToken = ec2PageOf(out.Snapshots, size, func(s ebsSnapshotAnswer) string { return s.ID })
	return out, err
}

func deleteSnapshot(c *call) (any, error) {
	id := c.Form().Get("SnapshotId")
	if id == "" {
		return nil, missingParameter("SnapshotId")
	}
	c.event.Resources = []trail.Resource{c.snapshotRecord(id)}
	c.event.Response = map[string]any{"requestId": c.ID, "_return": true}
	err := c.commit(func(tx *bolt.Tx) error {
		if _, err := c.loadSnapshot(tx, id); err != nil {
			return err
		}
		return store.Remove(tx, SnapshotBucket, c.ec2Key(id))
	})
	return ec2Success{true}, err
}

// tagFilter answers for the filters that everything with tags has.
func tagFilter(tags map[string]string, name string) []string {
	if name == "tag-key" {
		return append([]string{}, slices.Collect(maps.Keys(tags))...)
	}
	if key, ok := strings.CutPrefix(name, "tag:"); ok {
		if value, ok := tags[key]; ok {
			return []string{value}
		}
		return []string{}
	}
	return nil
}
