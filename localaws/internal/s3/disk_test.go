package s3

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	bolt "go.etcd.io/bbolt"

	"github.com/securethecloud/kms-baseline/localaws/internal/store"
)

// A record names a file only after the file and its name are on disk: a power
// failure at any moment leaves the old object or the new one.
func TestCommit_SyncsFileAndNameBeforeTheRecord(t *testing.T) {
	t.Parallel()
	db, err := store.Open(filepath.Join(t.TempDir(), "db"), BucketBucket, ObjectBucket, UploadBucket)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	s := &Service{db: db, dir: t.TempDir(), buckets: map[string]*bucketRecord{}}
	s.disk = newDisk(s.dir)
	named := func() (files []string) {
		require.NoError(t, db.View(func(tx *bolt.Tx) error {
			return store.Each(tx, ObjectBucket, "", func(_ string, o objectRecord) error { files = append(files, o.File); return nil })
		}))
		return files
	}
	var order []string
	s.disk.syncFile = func(f *os.File) error {
		require.NotContains(t, named(), filepath.Base(f.Name()), "the record is committed before its file is synced")
		order = append(order, "file")
		return syncFile(f)
	}
	s.disk.syncAll = func(dir string) error {
		require.Empty(t, named(), "the record is committed before its file is synced")
		order = append(order, "all")
		return syncAll(dir)
	}
	id, err := s.writeSealed(objectKey{plaintext: make([]byte, 32)}, func(w io.Writer) error {
		_, err := w.Write([]byte("hello"))
		return err
	})
	require.NoError(t, err)
	require.Equal(t, []string{"file", "all"}, order)
	require.FileExists(t, s.path(id))

	// What cannot be synced is not acknowledged, and leaves no file.
	s.disk.syncFile = func(*os.File) error { return errors.New("the disk is gone") }
	_, err = s.writeSealed(objectKey{plaintext: make([]byte, 32)}, func(io.Writer) error { return nil })
	require.ErrorContains(t, err, "the disk is gone")
	left, err := os.ReadDir(s.dir)
	require.NoError(t, err)
	require.Len(t, left, 1)
}

func TestPersist_CoversEveryFileThatWasMadeBefore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := newDisk(dir)
	var made sync.Map
	var rounds atomic.Int64
	var synced sync.Map
	d.syncFile = func(*os.File) error { return nil }
	d.syncAll = func(dir string) error {
		rounds.Add(1)
		entries, err := os.ReadDir(dir)
		for _, e := range entries {
			synced.Store(e.Name(), true)
		}
		return err
	}
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			name := strings.Repeat("x", i+1)
			made.Store(name, true)
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
				t.Error(err)
			}
			if err := d.joinSync(); err != nil {
				t.Error(err)
			}
			if _, ok := synced.Load(name); !ok {
				t.Errorf("file %d is acknowledged and not synced", i)
			}
		})
	}
	wg.Wait()
	require.LessOrEqual(t, rounds.Load(), int64(100))
}
