package main

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/spf13/cobra"

	"github.com/securethecloud/kms-baseline/verify/check"
	"github.com/securethecloud/kms-baseline/verify/report"
)

// errAWS reports that a call to AWS failed.
var errAWS = errors.New("a call to AWS failed")

func newEnvelope(o *options) *cobra.Command {
	text := "hello kms day1"
	c := &cobra.Command{
		Use:   "envelope",
		Short: "Show envelope encryption step by step with the live key",
		Long: `envelope encrypts a text as S3 does: KMS generates a data key and wraps it under
the key, the text is encrypted on this machine with AES-256-GCM, the data key is
wiped, and only its wrapped form is kept beside the ciphertext. Then envelope
decrypts the text, and tries again with a wrong encryption context, which KMS must
refuse.

It stores nothing. It needs kms:GenerateDataKey and kms:Decrypt on the key. It
shows 4 bytes of the data key.`,
		Example: "  verify envelope --stack dev\n  verify envelope --key alias/masterclass-cmk --text 'my secret'",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx := c.Context()
			cfg, err := o.config(ctx, c)
			if err != nil {
				return err
			}
			if len(cfg.Keys) == 0 {
				return errors.New("no key: name one with --key, --stack or --outputs")
			}
			if cfg.AWS, err = o.readyAWS(ctx, cfg.AWS.Region); err != nil {
				return err
			}
			seen := check.RecordEndpoints(cfg.AWS.HTTPClient)
			cfg.AWS.HTTPClient = seen
			var drawn bytes.Buffer
			err = drawEnvelope(ctx, &drawn, kms.NewFromConfig(cfg.AWS), cfg.Keys[0], text)
			p := &picture{w: o.stdout}
			if notice := seen.Notice(caBundle(cfg.AWS)); notice != "" && drawn.Len() > 0 {
				p.line("! %s\n", report.Line(notice))
			}
			p.line("%s", strings.TrimSuffix(drawn.String(), "\n"))
			err = errors.Join(err, p.err)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return err
		},
	}
	o.addTargetFlags(c)
	c.Flags().StringVar(&text, "text", text, "what to encrypt")
	return c
}

// envelope is the stored form: it can be opened with KMS only.
type envelope struct {
	wrappedKey []byte
	nonce      []byte
	ciphertext []byte // with GCM's tag at its end
}

// drawEnvelope does it all, and draws it.
func drawEnvelope(ctx context.Context, w io.Writer, client *kms.Client, key, text string) error {
	run := make([]byte, 8)
	_, _ = rand.Read(run) // never fails: see crypto/rand.Read
	about := map[string]string{"purpose": "kms-baseline verify envelope", "run": hex.EncodeToString(run)}

	out, err := client.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: &key, KeySpec: types.DataKeySpecAes256, EncryptionContext: about})
	if err != nil {
		return asked("GenerateDataKey", err)
	}
	arn := aws.ToString(out.KeyId)
	e := envelope{wrappedKey: out.CiphertextBlob}
	shownKey := beginning(out.Plaintext, 4)
	err = e.seal(out.Plaintext, text)
	clear(out.Plaintext)
	if err != nil {
		return fmt.Errorf("%w: encrypting with the data key: %w", errFailed, err)
	}

	p := &picture{w: w}
	p.line("the vault: KMS")
	p.line("  key               %s", arn)
	p.line("                    never leaves it")
	p.line("    |")
	p.line("    | GenerateDataKey, encryption context purpose=%q run=%q", about["purpose"], about["run"])
	p.line("    v")
	p.line("this machine")
	p.line("  data key          %-40s used once, then wiped", shownKey)
	p.line("  wrapped data key  %-40s the data key, encrypted under the key", beginning(e.wrappedKey, 12))
	p.line("")
	p.line("  plaintext         %s", beginning([]byte(text), 12))
	p.line("    |")
	p.line("    | AES-256-GCM with the data key")
	p.line("    v")
	p.line("  +-- the envelope: all that is stored ---------------------------+")
	p.line("  | ciphertext        %-43s |", beginning(e.ciphertext, 12))
	p.line("  | nonce             %-43s |", beginning(e.nonce, 12))
	p.line("  | wrapped data key  %-43s |", beginning(e.wrappedKey, 12))
	p.line("  +---------------------------------------------------------------+")
	p.line("    |")
	p.line("    | Decrypt of the wrapped data key, by KMS")
	p.line("    v")

	back, err := client.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: e.wrappedKey, KeyId: &arn, EncryptionContext: about})
	if err != nil {
		return errors.Join(p.err, asked("Decrypt", err))
	}
	plain, err := e.open(back.Plaintext)
	clear(back.Plaintext)
	if err != nil || !bytes.Equal(plain, []byte(text)) {
		return errors.Join(p.err, fmt.Errorf("%w: what Decrypt unwrapped does not open the envelope", errFailed))
	}
	p.line("  same context      the data key again, and with it the plaintext: %s", beginning(plain, 12))

	about["run"] = strings.Repeat("0", len(about["run"]))
	wrong, err := client.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: e.wrappedKey, KeyId: &arn, EncryptionContext: about})
	switch {
	case err == nil:
		clear(wrong.Plaintext)
		return errors.Join(p.err, fmt.Errorf("%w: KMS unwrapped the data key under a wrong encryption context", errFailed))
	case !errors.As(err, new(*types.InvalidCiphertextException)):
		return errors.Join(p.err, asked("Decrypt", err))
	}
	p.line("  another context   refused: InvalidCiphertextException")
	return p.err
}

// seal encrypts the text with a data key.
func (e *envelope) seal(dataKey []byte, text string) error {
	gcm, err := newGCM(dataKey)
	if err != nil {
		return err
	}
	e.nonce = make([]byte, gcm.NonceSize())
	_, _ = rand.Read(e.nonce) // never fails: see crypto/rand.Read
	e.ciphertext = gcm.Seal(nil, e.nonce, []byte(text), nil)
	return nil
}

func (e *envelope) open(dataKey []byte) ([]byte, error) {
	gcm, err := newGCM(dataKey)
	if err != nil {
		return nil, err
	}
	return gcm.Open(nil, e.nonce, e.ciphertext, nil)
}

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// asked wraps the error of a call that failed.
func asked(operation string, err error) error {
	if check.IsCredentials(err) {
		return &check.CredentialsError{Err: err}
	}
	failed := fmt.Errorf("%w: kms:%s: %s", errAWS, operation, check.Reason(err))
	switch {
	case errors.As(err, new(*types.NotFoundException)):
		return hinted{failed, "aws kms list-aliases"}
	case check.IsDenied(err):
		return hinted{failed, "the caller needs kms:GenerateDataKey and kms:Decrypt on the key"}
	}
	return hinted{failed, "check the state of the key and the network, and run verify again"}
}

// beginning formats the first n bytes and the length.
func beginning(b []byte, n int) string {
	more := ""
	if len(b) > n {
		more = "..."
		b, n = b[:n], len(b)
	} else {
		n = len(b)
	}
	if n == 1 {
		return hex.EncodeToString(b) + " (1 byte)"
	}
	return fmt.Sprintf("%s%s (%d bytes)", hex.EncodeToString(b), more, n)
}

// picture writes lines until one cannot be written.
type picture struct {
	w   io.Writer
	err error
}

func (p *picture) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}
