package main

import (
	"bytes"
	"context"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

const unknownKey = "00000000-0000-4000-8000-000000000000"

func keyNames(r *runner) {
	key := r.makeKey()
	alias := aws.String("alias/" + r.o.prefix)
	describe := func(id string) func(context.Context) (string, error) {
		return answer(r.kms.DescribeKey, &kms.DescribeKeyInput{KeyId: &id}, func(out *kms.DescribeKeyOutput) string {
			return fields("Arn", out.KeyMetadata.Arn)
		})
	}
	create := func(name string) func(context.Context) (string, error) {
		return answered(r.kms.CreateAlias, &kms.CreateAliasInput{AliasName: &name, TargetKeyId: key.KeyId})
	}
	r.until("DescribeKey by ID", "Arn=", describe(*key.KeyId))
	r.step("DescribeKey by ARN", describe(*key.Arn))
	r.step("DescribeKey of an unknown key", describe(unknownKey))
	r.step("DescribeKey of an unknown alias", describe("alias/"+r.o.prefix+"-none"))
	r.step("DescribeKey of a malformed ID", describe("not a key"))
	r.step("CreateAlias", create(*alias))
	r.until("DescribeKey by alias", "Arn=", describe(*alias))
	r.step("DescribeKey by the alias's ARN", describe("arn:aws:kms:"+region+":"+r.account+":"+*alias))
	r.step("CreateAlias again", create(*alias))
	r.step("CreateAlias with an aws name", create("alias/aws/"+r.o.prefix))
	r.step("CreateAlias without alias/", create(r.o.prefix))
	r.step("CreateAlias with invalid characters", create("alias/"+r.o.prefix+"?"))
	r.step("CreateAlias for an unknown key", answered(r.kms.CreateAlias, &kms.CreateAliasInput{AliasName: aws.String(*alias + "-x"), TargetKeyId: aws.String(unknownKey)}))
	r.until("ListAliases of the key", "Aliases=1", answer(r.kms.ListAliases, &kms.ListAliasesInput{KeyId: key.KeyId}, func(out *kms.ListAliasesOutput) string {
		s := fields("Aliases", len(out.Aliases))
		for _, a := range out.Aliases {
			s += " " + fields("Name", a.AliasName, "Arn", a.AliasArn, "Target", a.TargetKeyId)
		}
		return s
	}))
	r.step("UpdateAlias of an unknown alias", answered(r.kms.UpdateAlias, &kms.UpdateAliasInput{AliasName: aws.String(*alias + "-none"), TargetKeyId: key.KeyId}))
	r.step("DeleteAlias of an unknown alias", answered(r.kms.DeleteAlias, &kms.DeleteAliasInput{AliasName: aws.String(*alias + "-none")}))
	r.step("DeleteAlias", answered(r.kms.DeleteAlias, &kms.DeleteAliasInput{AliasName: alias}))
}

func cryptography(r *runner) {
	id := &r.keys[0]
	other := r.makeKey().KeyId
	purpose := map[string]string{"purpose": "conformance"}
	var sealed []byte
	r.until("Encrypt", "KeyId=", answer(r.kms.Encrypt, &kms.EncryptInput{KeyId: id, Plaintext: []byte("hello"), EncryptionContext: purpose}, func(out *kms.EncryptOutput) string {
		sealed = out.CiphertextBlob
		return fields("KeyId", out.KeyId, "Algorithm", out.EncryptionAlgorithm)
	}))
	decrypt := func(blob []byte, keyContext map[string]string, key *string) func(context.Context) (string, error) {
		return answer(r.kms.Decrypt, &kms.DecryptInput{CiphertextBlob: blob, EncryptionContext: keyContext, KeyId: key}, func(out *kms.DecryptOutput) string {
			return fields("KeyId", out.KeyId, "Algorithm", out.EncryptionAlgorithm, "Plaintext", string(out.Plaintext))
		})
	}
	r.step("Decrypt", decrypt(sealed, purpose, nil))
	r.step("Decrypt with the key's ID", decrypt(sealed, purpose, id))
	r.step("Decrypt without the context", decrypt(sealed, nil, nil))
	r.step("Decrypt with another context", decrypt(sealed, map[string]string{"purpose": "other"}, nil))
	r.step("Decrypt with another key", decrypt(sealed, purpose, other))
	damaged := bytes.Clone(sealed)
	if len(damaged) > 0 {
		damaged[len(damaged)-1] ^= 1
	}
	r.step("Decrypt of a damaged ciphertext", decrypt(damaged, purpose, nil))
	r.step("Decrypt of no ciphertext", decrypt([]byte("no ciphertext"), nil, nil))
	r.step("Encrypt of 4096 bytes", answer(r.kms.Encrypt, &kms.EncryptInput{KeyId: id, Plaintext: make([]byte, 4096)}, func(*kms.EncryptOutput) string { return "ok" }))
	r.step("Encrypt of 4097 bytes", answered(r.kms.Encrypt, &kms.EncryptInput{KeyId: id, Plaintext: make([]byte, 4097)}))
	r.step("Encrypt with an unknown key", answered(r.kms.Encrypt, &kms.EncryptInput{KeyId: aws.String(unknownKey), Plaintext: []byte("x")}))
	r.step("ReEncrypt", answer(r.kms.ReEncrypt, &kms.ReEncryptInput{CiphertextBlob: sealed, SourceEncryptionContext: purpose, DestinationKeyId: other}, func(out *kms.ReEncryptOutput) string {
		return fields("KeyId", out.KeyId, "SourceKeyId", out.SourceKeyId, "From", out.SourceEncryptionAlgorithm, "To", out.DestinationEncryptionAlgorithm)
	}))
	dataKey := func(in *kms.GenerateDataKeyInput) func(context.Context) (string, error) {
		in.KeyId = id
		return answer(r.kms.GenerateDataKey, in, func(out *kms.GenerateDataKeyOutput) string {
			return fields("KeyId", out.KeyId, "Plaintext", len(out.Plaintext))
		})
	}
	r.step("GenerateDataKey of AES_256", dataKey(&kms.GenerateDataKeyInput{KeySpec: types.DataKeySpecAes256}))
	r.step("GenerateDataKey of 1024 bytes", dataKey(&kms.GenerateDataKeyInput{NumberOfBytes: aws.Int32(1024)}))
	r.step("GenerateDataKey of 1025 bytes", dataKey(&kms.GenerateDataKeyInput{NumberOfBytes: aws.Int32(1025)}))
	r.step("GenerateDataKey without a size", dataKey(&kms.GenerateDataKeyInput{}))
	r.step("GenerateDataKey with two sizes", dataKey(&kms.GenerateDataKeyInput{KeySpec: types.DataKeySpecAes256, NumberOfBytes: aws.Int32(32)}))
	r.step("GenerateDataKeyWithoutPlaintext", answer(r.kms.GenerateDataKeyWithoutPlaintext, &kms.GenerateDataKeyWithoutPlaintextInput{KeyId: id, KeySpec: types.DataKeySpecAes256}, func(out *kms.GenerateDataKeyWithoutPlaintextOutput) string {
		return fields("KeyId", out.KeyId)
	}))
	r.step("GenerateRandom", answer(r.kms.GenerateRandom, &kms.GenerateRandomInput{NumberOfBytes: aws.Int32(16)}, func(out *kms.GenerateRandomOutput) string {
		return fields("Plaintext", len(out.Plaintext))
	}))
}

func keyPolicies(r *runner) {
	id := &r.keys[0]
	r.step("GetKeyPolicy", answer(r.kms.GetKeyPolicy, &kms.GetKeyPolicyInput{KeyId: id}, func(out *kms.GetKeyPolicyOutput) string {
		return fields("PolicyName", out.PolicyName, "Policy", out.Policy)
	}))
	r.step("ListKeyPolicies", answer(r.kms.ListKeyPolicies, &kms.ListKeyPoliciesInput{KeyId: id}, func(out *kms.ListKeyPoliciesOutput) string {
		return fields("Names", out.PolicyNames, "Truncated", out.Truncated)
	}))
	root := `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + r.account + `:root"},"Action":"kms:*","Resource":"*"}`
	put := func(policy string) func(context.Context) (string, error) {
		return answered(r.kms.PutKeyPolicy, &kms.PutKeyPolicyInput{KeyId: id, Policy: &policy})
	}
	document := func(statements string) string { return `{"Version":"2012-10-17","Statement":[` + statements + `]}` }
	r.step("PutKeyPolicy of no JSON", put("{"))
	r.step("PutKeyPolicy without statements", put(document("")))
	r.step("PutKeyPolicy that locks the caller out", put(document(`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::`+r.account+`:root"},"Action":"kms:DescribeKey","Resource":"*"}`)))
	r.step("PutKeyPolicy with an unknown principal", put(document(root+`,{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::`+r.account+`:role/`+r.o.prefix+`-none"},"Action":"kms:Decrypt","Resource":"*"}`)))
	r.step("PutKeyPolicy with an unknown effect", put(document(`{"Effect":"Maybe","Principal":"*","Action":"kms:*","Resource":"*"}`)))
	r.step("PutKeyPolicy that denies a context", put(document(root+`,{"Effect":"Deny","Principal":"*","Action":"kms:Encrypt","Resource":"*","Condition":{"StringEquals":{"kms:EncryptionContext:purpose":"denied"}}}`)))
	encrypt := func(purpose string) func(context.Context) (string, error) {
		return answered(r.kms.Encrypt, &kms.EncryptInput{KeyId: id, Plaintext: []byte("x"), EncryptionContext: map[string]string{"purpose": purpose}})
	}
	r.until("Encrypt that the policy denies", "AccessDeniedException", encrypt("denied"))
	r.step("Encrypt that the policy allows", encrypt("allowed"))
	r.step("PutKeyPolicy of the default", put(document(root)))
	r.until("Encrypt after the denial is gone", "ok", encrypt("denied"))
}

func grants(r *runner) {
	id, grantee := &r.keys[0], aws.String("arn:aws:iam::"+r.account+":root")
	var grant string
	create := func(in *kms.CreateGrantInput) func(context.Context) (string, error) {
		in.KeyId, in.GranteePrincipal = id, grantee
		return answer(r.kms.CreateGrant, in, func(out *kms.CreateGrantOutput) string {
			again := *out.GrantId == grant
			grant = *out.GrantId
			r.name(grant, "{grant}")
			return fields("GrantId", len(grant), "Again", again, "Token", out.GrantToken != nil)
		})
	}
	named := kms.CreateGrantInput{Name: aws.String("conformance"), Operations: []types.GrantOperation{types.GrantOperationDecrypt, types.GrantOperationDescribeKey},
		Constraints: &types.GrantConstraints{EncryptionContextSubset: map[string]string{"purpose": "conformance"}}}
	again := named
	r.step("CreateGrant", create(&named))
	r.step("CreateGrant again", create(&again))
	r.step("CreateGrant without operations", create(&kms.CreateGrantInput{Operations: []types.GrantOperation{}}))
	r.step("CreateGrant of an unknown operation", create(&kms.CreateGrantInput{Operations: []types.GrantOperation{"Unknown"}}))
	r.step("CreateGrant of an asymmetric operation", create(&kms.CreateGrantInput{Operations: []types.GrantOperation{types.GrantOperationSign}}))
	r.until("ListGrants", "Grants=1", answer(r.kms.ListGrants, &kms.ListGrantsInput{KeyId: id}, func(out *kms.ListGrantsOutput) string {
		s := fields("Grants", len(out.Grants))
		for _, g := range out.Grants {
			s += " " + fields("Name", g.Name, "Operations", g.Operations, "Grantee", g.GranteePrincipal, "Issuer", g.IssuingAccount, "Constraints", g.Constraints.EncryptionContextSubset)
		}
		return s
	}))
	r.step("RevokeGrant", answered(r.kms.RevokeGrant, &kms.RevokeGrantInput{KeyId: id, GrantId: &grant}))
	r.until("RevokeGrant again", "NotFoundException", answered(r.kms.RevokeGrant, &kms.RevokeGrantInput{KeyId: id, GrantId: &grant}))
}

func rotation(r *runner) {
	id := &r.keys[0]
	status := answer(r.kms.GetKeyRotationStatus, &kms.GetKeyRotationStatusInput{KeyId: id}, func(out *kms.GetKeyRotationStatusOutput) string {
		return fields("Enabled", out.KeyRotationEnabled, "Period", out.RotationPeriodInDays, "Next", out.NextRotationDate != nil, "OnDemand", out.OnDemandRotationStartDate, "KeyId", out.KeyId)
	})
	enable := func(days int32) func(context.Context) (string, error) {
		return answered(r.kms.EnableKeyRotation, &kms.EnableKeyRotationInput{KeyId: id, RotationPeriodInDays: aws.Int32(days)})
	}
	r.step("GetKeyRotationStatus", status)
	r.step("EnableKeyRotation every 89 days", enable(89))
	r.step("EnableKeyRotation every 2561 days", enable(2561))
	r.step("EnableKeyRotation every 120 days", enable(120))
	r.until("GetKeyRotationStatus after EnableKeyRotation", "Enabled=true", status)
	r.step("DisableKeyRotation", answered(r.kms.DisableKeyRotation, &kms.DisableKeyRotationInput{KeyId: id}))
	r.until("GetKeyRotationStatus after DisableKeyRotation", "Enabled=false", status)
	r.step("ListKeyRotations", answer(r.kms.ListKeyRotations, &kms.ListKeyRotationsInput{KeyId: id}, func(out *kms.ListKeyRotationsOutput) string {
		return fields("Rotations", len(out.Rotations), "Truncated", out.Truncated)
	}))
}

func keyTags(r *runner) {
	id := &r.keys[0]
	tag := func(pairs ...string) func(context.Context) (string, error) {
		in := &kms.TagResourceInput{KeyId: id}
		for i := 0; i < len(pairs); i += 2 {
			in.Tags = append(in.Tags, types.Tag{TagKey: &pairs[i], TagValue: &pairs[i+1]})
		}
		return answered(r.kms.TagResource, in)
	}
	r.step("TagResource", tag("team", "security", "empty", ""))
	r.step("TagResource with an aws: key", tag("aws:team", "x"))
	r.step("TagResource with a key twice", tag("team", "a", "team", "b"))
	list := answer(r.kms.ListResourceTags, &kms.ListResourceTagsInput{KeyId: id}, func(out *kms.ListResourceTagsOutput) string {
		var tags []string
		for _, t := range out.Tags {
			tags = append(tags, *t.TagKey+":"+*t.TagValue)
		}
		slices.Sort(tags)
		return fields("Tags", tags, "Truncated", out.Truncated)
	})
	r.until("ListResourceTags", "Tags=[empty: team:", list)
	r.step("UntagResource", answered(r.kms.UntagResource, &kms.UntagResourceInput{KeyId: id, TagKeys: []string{"empty", "none"}}))
	r.until("ListResourceTags after UntagResource", "Tags=[team:", list)
}

// keyStates ends with the second key pending deletion.
func keyStates(r *runner) {
	id := &r.keys[1]
	encrypt := answered(r.kms.Encrypt, &kms.EncryptInput{KeyId: id, Plaintext: []byte("x")})
	schedule := func(days int32) func(context.Context) (string, error) {
		return answer(r.kms.ScheduleKeyDeletion, &kms.ScheduleKeyDeletionInput{KeyId: id, PendingWindowInDays: aws.Int32(days)}, func(out *kms.ScheduleKeyDeletionOutput) string {
			return fields("KeyId", out.KeyId, "State", out.KeyState, "Window", out.PendingWindowInDays, "Date", out.DeletionDate != nil)
		})
	}
	r.step("DisableKey", answered(r.kms.DisableKey, &kms.DisableKeyInput{KeyId: id}))
	r.until("Encrypt with a disabled key", "DisabledException", encrypt)
	r.step("EnableKeyRotation of a disabled key", answered(r.kms.EnableKeyRotation, &kms.EnableKeyRotationInput{KeyId: id}))
	r.step("EnableKey", answered(r.kms.EnableKey, &kms.EnableKeyInput{KeyId: id}))
	r.until("Encrypt with an enabled key", "ok", encrypt)
	r.step("CancelKeyDeletion of an enabled key", answered(r.kms.CancelKeyDeletion, &kms.CancelKeyDeletionInput{KeyId: id}))
	r.step("ScheduleKeyDeletion in 6 days", schedule(6))
	r.step("ScheduleKeyDeletion in 31 days", schedule(31))
	r.step("ScheduleKeyDeletion in 7 days", schedule(7))
	r.until("DescribeKey of a key pending deletion", "State=PendingDeletion", answer(r.kms.DescribeKey, &kms.DescribeKeyInput{KeyId: id}, func(out *kms.DescribeKeyOutput) string {
		return fields("State", out.KeyMetadata.KeyState, "Enabled", out.KeyMetadata.Enabled, "Date", out.KeyMetadata.DeletionDate != nil)
	}))
	r.until("Encrypt with a key pending deletion", "KMSInvalidStateException", encrypt)
	r.step("EnableKey of a key pending deletion", answered(r.kms.EnableKey, &kms.EnableKeyInput{KeyId: id}))
	r.step("CreateAlias for a key pending deletion", answered(r.kms.CreateAlias, &kms.CreateAliasInput{AliasName: aws.String("alias/" + r.o.prefix + "-pending"), TargetKeyId: id}))
	r.step("ScheduleKeyDeletion again", schedule(7))
	r.step("CancelKeyDeletion", answer(r.kms.CancelKeyDeletion, &kms.CancelKeyDeletionInput{KeyId: id}, func(out *kms.CancelKeyDeletionOutput) string { return fields("KeyId", out.KeyId) }))
	r.until("Encrypt after CancelKeyDeletion", "DisabledException", encrypt)
	r.step("ScheduleKeyDeletion of a disabled key", schedule(7))
}
