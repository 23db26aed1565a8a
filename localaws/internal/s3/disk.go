package s3

import (
	"os"
	"path/filepath"
	"sync"
)

// disk makes the files of a directory survive a power failure.
type disk struct {
	dir      string
	syncFile func(*os.File) error   // what one file needs by itself
	syncAll  func(dir string) error // what all files share

	mu      sync.Mutex
	onWrite func(file string, synced bool) // see Service.OnWrite
	next    *syncRound                     // the round that a new caller joins
	running sync.Mutex                     // held during syncAll
}

// syncRound is one call of syncAll, for all callers that joined it.
type syncRound struct {
	done chan struct{}
	err  error
}

func newDisk(dir string) disk { return disk{dir: dir, syncFile: syncFile, syncAll: syncAll} }

// OnWrite has f called after each write to the directory of objects: a file was
// synced, and its name, or a file was removed. Tests of power failures set it,
// before the first call.
func (s *Service) OnWrite(f func(file string, synced bool)) { s.disk.onWrite = f }

// wrote reports a write.
func (d *disk) wrote(file string, synced bool) {
	if d.onWrite != nil {
		d.onWrite(file, synced)
	}
}

// persist returns once the file's content and its name are on disk. Callers that
// wait at the same time share one syncAll.
func (d *disk) persist(f *os.File) error {
	err := d.syncFile(f)
	if err == nil {
		err = d.joinSync()
	}
	if err == nil {
		d.wrote(filepath.Base(f.Name()), true)
	}
	return err
}

func (d *disk) joinSync() error {
	d.mu.Lock()
	round := d.next
	if round != nil {
		d.mu.Unlock()
		<-round.done
		return round.err
	}
	round = &syncRound{done: make(chan struct{})}
	d.next = round
	d.mu.Unlock()

	d.running.Lock()
	d.mu.Lock()
	d.next = nil // later callers need another round
	d.mu.Unlock()
	round.err = d.syncAll(d.dir)
	d.running.Unlock()
	close(round.done)
	return round.err
}
