package ec2

import (
	"cmp"
	"slices"

	bolt "go.etcd.io/bbolt"
)

// Block public access for snapshots, a setting of an account in a Region. Here no
// snapshot is ever shared, so the setting is kept and changes nothing else.
// Source: https://docs.aws.amazon.com/ebs/latest/userguide/block-public-access-snapshots.html

// unblocked is the state of an account that never changed it.
const unblocked = "unblocked"

type sharingAnswer struct {
	State     string `xml:"state"`
	ManagedBy string `xml:"managedBy,omitempty"`
}

func getSnapshotSharing(c *call) (any, error) {
	d, err := c.s.loadEBSDefaults(c.Who.Account, c.Region)
	return sharingAnswer{cmp.Or(d.SnapshotBlock, unblocked), "account"}, err
}

func enableSnapshotSharingBlock(c *call) (any, error) {
	state := c.Form().Get("State")
	switch {
	case state == "":
		return nil, missingParameter("State")
	case !slices.Contains([]string{"block-all-sharing", "block-new-sharing"}, state):
		return nil, invalidParameter("State", state, "It is block-all-sharing or block-new-sharing.")
	}
	return setSnapshotSharing(c, state)
}

func disableSnapshotSharingBlock(c *call) (any, error) { return setSnapshotSharing(c, unblocked) }

func setSnapshotSharing(c *call, state string) (any, error) {
	c.event.Response = ebsResponse(c, "state", state)
	err := c.changeEBSDefaults(func(_ *bolt.Tx, d *ebsDefaults) error {
		d.SnapshotBlock = state
		return nil
	})
	return sharingAnswer{State: state}, err
}
