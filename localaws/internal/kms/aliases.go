package kms

import (
	"maps"
	"slices"
	"strings"

	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/store"
)

// Aliases. An alias belongs to an account and a Region, and so does its key.

// maxAliases is how many aliases a key may have.
// Source: https://docs.aws.amazon.com/kms/latest/developerguide/resource-limits.html
const maxAliases = 50

// checkAliasName refuses a name that a user cannot give, or take away.
func checkAliasName(name string) error {
	switch {
	case name == "":
		return required("aliasName", name)
	case !strings.HasPrefix(name, "alias/"):
		return kmsError("ValidationException", `Alias must start with the prefix "alias/". Please see https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html`)
	case strings.HasPrefix(name, "alias/aws/"):
		return kmsError("NotAuthorizedException", "Aliases that begin with alias/aws/ are reserved for AWS managed keys: %s", name)
	case len(name) > 256:
		return invalid("aliasName", name[:50]+"...", "have length less than or equal to 256")
	case strings.Contains(name, ":"):
		return kmsError("ValidationException", "%s contains invalid characters for an alias", name)
	case !aliasPattern.MatchString(name):
		return invalid("aliasName", name, "satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$")
	}
	return nil
}

// ownTarget returns the key that an alias is to stand for: one of the
// caller's own account and Region that users manage.
func (c *call) ownTarget(tx *bolt.Tx, id string) (keyRecord, error) {
	k, err := c.allowed(tx, id, idOrARN, notPendingDeletion)
	if err == nil && k.Account != c.account {
		err = kmsError("NotFoundException", "Key '%s' does not exist", k.arn())
	}
	return k, err
}

type aliasInput struct {
	AliasName   string
	TargetKeyId string
}

func createAlias(c *call, in aliasInput) (any, error) {
	if err := checkAliasName(in.AliasName); err != nil {
		return nil, err
	}
	if err := required("targetKeyId", in.TargetKeyId); err != nil {
		return nil, err
	}
	arn := c.namesAlias(in.AliasName)
	if err := c.authorizeOn(arn, c.operation); err != nil {
		return nil, err
	}
	return nil, c.update(func(tx *bolt.Tx) error {
		k, err := c.ownTarget(tx, in.TargetKeyId)
		if err != nil {
			return err
		}
		at := store.Key(c.account, c.r.Region, in.AliasName)
		if _, exists, err := store.Load[aliasRecord](tx, AliasBucket, at); err != nil {
			return err
		} else if exists {
			return kmsError("AlreadyExistsException", "An alias with the name %s already exists", arn)
		}
		if err := roomForAlias(tx, k); err != nil {
			return err
		}
		return store.Save(tx, AliasBucket, at, aliasRecord{in.AliasName, k.ID, c.r.Now, c.r.Now})
	})
}

func roomForAlias(tx *bolt.Tx, k keyRecord) error {
	aliases, err := aliasesOf(tx, k)
	if err == nil && len(aliases) >= maxAliases {
		err = kmsError("LimitExceededException", "%s has %d aliases already, which is the limit", k.arn(), maxAliases)
	}
	return err
}

// namesAlias puts the alias into the event.
func (c *call) namesAlias(name string) (arn string) {
	arn = aliasARN(c.account, c.r.Region, name)
	c.aliasARNs = append(c.aliasARNs, arn)
	return arn
}

// existing returns an alias and the key that it stands for, which the
// caller may do the operation to.
func (c *call) existing(tx *bolt.Tx, name, arn string) (aliasRecord, keyRecord, error) {
	a, ok, err := store.Load[aliasRecord](tx, AliasBucket, store.Key(c.account, c.r.Region, name))
	if err != nil {
		return a, keyRecord{}, err
	}
	if !ok {
		return a, keyRecord{}, kmsError("NotFoundException", "Alias %s is not found.", arn)
	}
	k, err := c.allowed(tx, a.KeyID, idOrARN, nil)
	return a, k, err
}

func updateAlias(c *call, in aliasInput) (any, error) {
	if err := checkAliasName(in.AliasName); err != nil {
		return nil, err
	}
	if err := required("targetKeyId", in.TargetKeyId); err != nil {
		return nil, err
	}
	arn := c.namesAlias(in.AliasName)
	if err := c.authorizeOn(arn, c.operation); err != nil {
		return nil, err
	}
	return nil, c.update(func(tx *bolt.Tx) error {
		a, old, err := c.existing(tx, in.AliasName, arn)
		if err != nil {
			return err
		}
		k, err := c.ownTarget(tx, in.TargetKeyId)
		if err != nil {
			return err
		}
		if k.ID != old.ID {
			if err := roomForAlias(tx, k); err != nil {
				return err
			}
		}
		a.KeyID, a.Updated = k.ID, c.r.Now
		return store.Save(tx, AliasBucket, store.Key(c.account, c.r.Region, in.AliasName), a)
	})
}

type deleteAliasInput struct {
	AliasName string
}

func deleteAlias(c *call, in deleteAliasInput) (any, error) {
	if err := checkAliasName(in.AliasName); err != nil {
		return nil, err
	}
	arn := c.namesAlias(in.AliasName)
	if err := c.authorizeOn(arn, c.operation); err != nil {
		return nil, err
	}
	return nil, c.update(func(tx *bolt.Tx) error {
		if _, _, err := c.existing(tx, in.AliasName, arn); err != nil {
			return err
		}
		return store.Remove(tx, AliasBucket, store.Key(c.account, c.r.Region, in.AliasName))
	})
}

type listAliasesInput struct {
	KeyId string
	paging
}

type aliasEntry struct {
	AliasName       string
	AliasArn        string
	TargetKeyId     string `json:",omitempty"`
	CreationDate    *epoch `json:",omitempty"`
	LastUpdatedDate *epoch `json:",omitempty"`
}

// listAliases also lists the AWS managed aliases that have no key yet.
func listAliases(c *call, in listAliasesInput) (any, error) {
	if err := c.authorizeOn("*", "ListAliases"); err != nil {
		return nil, err
	}
	var all []aliasEntry
	err := c.view(func(tx *bolt.Tx) error {
		only := ""
		if in.KeyId != "" {
			k, err := c.find(tx, in.KeyId, idOrARN)
			if err != nil {
				return err
			}
			only = k.ID
		}
		noKey := maps.Clone(managedAliases)
		err := store.Each(tx, AliasBucket, store.Key(c.account, c.r.Region, ""), func(_ string, a aliasRecord) error {
			delete(noKey, a.Name)
			if only == "" || a.KeyID == only {
				all = append(all, aliasEntry{a.Name, aliasARN(c.account, c.r.Region, a.Name), a.KeyID, epochOf(&a.Created), epochOf(&a.Updated)})
			}
			return nil
		})
		for name := range noKey {
			if only == "" {
				all = append(all, aliasEntry{AliasName: name, AliasArn: aliasARN(c.account, c.r.Region, name)})
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b aliasEntry) int { return strings.Compare(a.AliasName, b.AliasName) })
	aliases, p, err := cut(in.paging, 100, 50, all, func(a aliasEntry) string { return a.AliasName })
	return struct {
		Aliases []aliasEntry
		page
	}{aliases, p}, err
}
