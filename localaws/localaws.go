// Package localaws is the AWS that this project runs against where there is no
// account: KMS, S3, the EBS encryption defaults, STS, CloudTrail, what Athena needs
// to query log files, and the accounts of an organization; small and exact, in one
// process. Its cryptography is real, its state survives a kill, and an unmodified
// client (AWS CLI, SDK, Pulumi provider) is the judge of what it answers.
//
// It is not an AWS emulator for general use: an operation that this project
// does not need answers NotImplemented in its service's own error shape.
// It checks that a request is signed, but not the signature itself, since it
// knows no secret keys; it therefore listens on loopback only.
package localaws

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/athena"
	"github.com/securethecloud/kms-baseline/localaws/internal/ec2"
	"github.com/securethecloud/kms-baseline/localaws/internal/glue"
	"github.com/securethecloud/kms-baseline/localaws/internal/kms"
	"github.com/securethecloud/kms-baseline/localaws/internal/organizations"
	"github.com/securethecloud/kms-baseline/localaws/internal/policy"
	"github.com/securethecloud/kms-baseline/localaws/internal/s3"
	"github.com/securethecloud/kms-baseline/localaws/internal/store"
	"github.com/securethecloud/kms-baseline/localaws/internal/sts"
	"github.com/securethecloud/kms-baseline/localaws/internal/trail"
	"github.com/securethecloud/kms-baseline/localaws/internal/wire"
)

// Options says where a [Server] keeps its state and how it behaves. The zero
// value of every field but Dir is usable.
type Options struct {
	// Dir holds the state: the database and the encrypted objects. It is
	// created, readable by its owner alone. Required.
	Dir string
	// CertDir holds the certificate authority. The default is Dir/certs.
	CertDir string
	// TrailDelay is how long an event takes to show up in LookupEvents. AWS
	// takes about five minutes on average; the default is 0.
	TrailDelay time.Duration
	// TrailRate is how many LookupEvents calls a second one account may make in
	// one Region before it is throttled. The default is 2, as in AWS.
	// Source: https://docs.aws.amazon.com/awscloudtrail/latest/userguide/WhatIsCloudTrail-Limits.html
	TrailRate int
	// TrailDelivery is how often trails deliver log files, and digest files that
	// are due. AWS takes about five minutes on average, the default. With a
	// negative value nothing is delivered until [Server.DeliverTrails] is called.
	TrailDelivery time.Duration
	// TrailDigests is the time that a digest file covers. The default is an
	// hour, as in AWS.
	TrailDigests time.Duration
	// Replication is how often S3 replicates what is pending. AWS takes seconds to
	// minutes; the default is a second. With a negative value nothing is replicated
	// until [Server.Replicate] is called.
	Replication time.Duration
	// Trino is the URL of the Trino that executes Athena's queries, such as
	// "http://127.0.0.1:8080". It has the catalog awsdatacatalog, over this server's
	// Glue Data Catalog and S3. By default there is none, and StartQueryExecution is
	// refused.
	Trino string
	// Now is the clock. The default is time.Now.
	Now func() time.Time
	// Log, where set, is told of every call once it has been answered. It is
	// called from several goroutines.
	Log func(Call)
}

// Call is one answered request.
type Call struct {
	Time      time.Time     `json:"time"`
	Service   string        `json:"service"`   // "kms", "s3", "ec2", "sts", "cloudtrail", "athena", "glue", "organizations"
	Operation string        `json:"operation"` // "GenerateDataKey"
	Region    string        `json:"region"`
	Principal string        `json:"principal"`       // ARN; empty for an unsigned request
	Status    int           `json:"status"`          // HTTP status; 0 where the connection was dropped on demand
	Error     string        `json:"error,omitempty"` // AWS error code
	Took      time.Duration `json:"took"`            // nanoseconds
}

// Server answers for AWS. It is safe for concurrent use. Make it with [Open].
type Server struct {
	opts       Options
	db         *bolt.DB
	authority  *authority
	faults     faults
	calls      callCounter
	identities *policy.Identities
	kms        *kms.Service
	s3         *s3.Service
	trail      *trail.Service
	sts        *sts.Service
	athena     *athena.Service
	org        *organizations.Service
	services   map[string]wire.Service // by the name in a signature's scope

	closed     context.Context // done once Close is called
	closing    context.CancelFunc
	background sync.WaitGroup

	mu      sync.Mutex
	servers []*http.Server
	url     string
	plain   string
}

// Open opens the state in o.Dir, or makes it. One process at a time can hold
// it: a second Open of the same directory fails after a second. Close it.
func Open(o Options) (*Server, error) {
	if o.Dir == "" {
		return nil, errors.New("localaws: no directory for the state")
	}
	if o.CertDir == "" {
		o.CertDir = filepath.Join(o.Dir, "certs")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.TrailRate == 0 {
		o.TrailRate = 2
	}
	o.TrailDelivery = cmp.Or(o.TrailDelivery, 5*time.Minute)
	o.TrailDigests = cmp.Or(o.TrailDigests, time.Hour)
	o.Replication = cmp.Or(o.Replication, time.Second)
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("localaws: making the state directory: %w", err)
	}
	ca, err := openAuthority(o.CertDir)
	if err != nil {
		return nil, err
	}
	db, err := store.Open(filepath.Join(o.Dir, "localaws.db"), append(trail.Buckets(), kms.KeyBucket, kms.AliasBucket,
		s3.AccountBucket, s3.BucketBucket, s3.ObjectBucket, s3.UploadBucket, s3.ReplicationBucket, ec2.DefaultsBucket, ec2.VolumeBucket, ec2.SnapshotBucket, policy.Bucket,
		sts.RoleBucket, sts.SessionBucket, glue.DatabaseBucket, glue.TableBucket, athena.WorkGroupBucket, athena.QueryBucket, organizations.Bucket)...)
	if err != nil {
		return nil, err
	}
	s := &Server{opts: o, db: db, authority: ca}
	s.closed, s.closing = context.WithCancel(context.Background())
	if err := s.openServices(); err != nil {
		s.closing()
		return nil, errors.Join(err, db.Close())
	}
	s.repeat(o.TrailDelivery, s.DeliverTrails)
	s.repeat(o.Replication, func() error { return s.s3.Replicate(s.closed, o.Now) })
	return s, nil
}

// repeat does f in the background, again and again until the server is closed. With
// a negative interval it does nothing.
func (s *Server) repeat(interval time.Duration, f func() error) {
	if interval < 0 {
		return
	}
	s.background.Go(func() {
		every := time.NewTicker(interval)
		defer every.Stop()
		for {
			select {
			case <-s.closed.Done():
				return
			case <-every.C:
				if err := f(); err != nil {
					log.Print(err)
				}
			}
		}
	})
}

// Replicate carries out the replications that are pending. What a policy or a key
// refuses gets the status FAILED: that is no error here.
func (s *Server) Replicate() error { return s.s3.Replicate(context.Background(), s.opts.Now) }

// DeliverTrails delivers what the trails have recorded as log files, and the
// digest files that are due by the server's clock. A trail that cannot deliver
// (its bucket is gone, or a policy refuses it) keeps its events for the next
// time, and GetTrailStatus shows the reason: that is no error here.
func (s *Server) DeliverTrails() error { return s.trail.Deliver(s.opts.Now()) }

func (s *Server) openServices() (err error) {
	o := s.opts
	if s.identities, err = policy.OpenIdentities(s.db); err != nil {
		return err
	}
	if s.trail, err = trail.Open(s.db, s.identities, trail.Options{Delay: o.TrailDelay, Rate: o.TrailRate, Digests: o.TrailDigests, Now: o.Now}); err != nil {
		return err
	}
	if s.kms, err = kms.Open(s.db, s.identities, s.trail, o.Dir, o.Now); err != nil {
		return err
	}
	if s.sts, err = sts.Open(s.db, s.identities, s.trail, o.Now()); err != nil {
		return err
	}
	if s.s3, err = s3.Open(s.db, s.identities, s.trail, s.kms, s.sts, filepath.Join(o.Dir, "objects")); err != nil {
		return err
	}
	s.trail.SetStore(s.s3)
	catalog := glue.New(s.db, s.identities, s.trail)
	if s.athena, err = athena.Open(s.db, s.identities, s.trail, catalog, s.s3, o.Trino, o.Now); err != nil {
		return err
	}
	if s.org, err = organizations.Open(s.db, s.identities, s.trail); err != nil {
		return err
	}
	s.services = map[string]wire.Service{
		"glue": catalog, "athena": s.athena, "organizations": s.org,
		"kms": s.kms, "s3": s.s3, "ec2": ec2.New(s.db, s.identities, s.trail, s.kms), "sts": s.sts, "cloudtrail": s.trail,
	}
	return nil
}

// SetIdentityPolicy gives a principal (the ARN of an IAM user or role) an
// identity policy. Without one a principal may do everything in its own
// account; with one, only what the policy allows. An empty document removes it.
// A service-linked role exists as long as it has a policy: without one, AWS's
// answer to a policy that names the role is that there is no such principal.
// A policy with a condition key that localaws does not evaluate is refused: a
// Deny that never applies would be worse than none.
func (s *Server) SetIdentityPolicy(principalARN, document string) error {
	if p, err := policy.ParseIdentity(document); err == nil {
		if key := p.UnknownKey(func(key string) bool { return kms.KnownKey(key) || s3.KnownKey(key) || key == "iam:passedtoservice" }); key != "" {
			return fmt.Errorf("localaws: the identity policy of %s has the condition key %s, which localaws does not implement", principalARN, key)
		}
	}
	return s.identities.Set(principalARN, document)
}

// SetRole creates the IAM role of an ARN, or changes its trust policy: who may
// assume it. An empty document removes it. What its sessions may do is its
// identity policy: see [Server.SetIdentityPolicy].
func (s *Server) SetRole(roleARN, trustPolicy string) error {
	return s.sts.SetRole(roleARN, trustPolicy)
}

// Organization is an organization and its accounts, as AWS Organizations lists
// them.
type Organization = organizations.Organization

// OrganizationAccount is an account of an organization.
type OrganizationAccount = organizations.Account

// SetOrganization makes the organization, or replaces it. One without an ID removes
// it. Roles in its accounts are made by [Server.SetRole]. An organization that has a
// trail keeps its ID and its management account.
func (s *Server) SetOrganization(o Organization) error { return s.org.Set(o) }

// EnvelopeHeader is the first line of an object's file.
type EnvelopeHeader = s3.EnvelopeHeader

// Envelope is what is on disk of one object: everything that a thief of the disk
// would have.
type Envelope = s3.Envelope

// Envelope returns the file of the current version of an object. It asks no
// policy and uses no key: it decrypts nothing.
func (s *Server) Envelope(bucket, key string) (Envelope, error) { return s.s3.Envelope(bucket, key) }

// Start listens for HTTPS on addr ("127.0.0.1:4566"; port 0 picks a free one)
// and returns once it answers. An address that is not loopback is refused.
func (s *Server) Start(addr string) error {
	l, err := listenLoopback(addr)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.url = "https://" + l.Addr().String()
	s.mu.Unlock()
	s.serve(tls.NewListener(l, s.authority.serverConfig()))
	return nil
}

// StartPlain listens for plain HTTP, which bucket policies see as insecure
// transport (aws:SecureTransport is false).
func (s *Server) StartPlain(addr string) error {
	l, err := listenLoopback(addr)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.plain = "http://" + l.Addr().String()
	s.mu.Unlock()
	s.serve(l)
	return nil
}

// URL is the HTTPS endpoint, for AWS_ENDPOINT_URL; empty before Start.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.url
}

// PlainURL is the plain HTTP endpoint; empty before StartPlain.
func (s *Server) PlainURL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.plain
}

// CAFile is the certificate authority's PEM file, for AWS_CA_BUNDLE.
func (s *Server) CAFile() string { return s.authority.file }

// Close stops listening, lets the requests under way finish (for five seconds
// at most) and closes the state.
func (s *Server) Close() error {
	s.closing()
	s.background.Wait()
	s.mu.Lock()
	servers := s.servers
	s.servers = nil
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var errs []error
	for _, h := range servers {
		if err := h.Shutdown(ctx); err != nil {
			errs = append(errs, h.Close())
		}
	}
	s.athena.Close()
	return errors.Join(append(errs, s.db.Close())...)
}

func (s *Server) serve(l net.Listener) {
	h := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		// A client that disconnects during the handshake is not worth a log line.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	s.mu.Lock()
	s.servers = append(s.servers, h)
	s.mu.Unlock()
	go func() { _ = h.Serve(l) }() // always ends with http.ErrServerClosed, by Close
}

func listenLoopback(addr string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("localaws: address %q is not HOST:PORT: %w", addr, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("localaws: refusing to listen on %q: it checks no signatures, so it listens on loopback only (127.0.0.1, ::1 or localhost)", host)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("localaws: %w", err)
	}
	return l, nil
}
