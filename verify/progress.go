package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/securethecloud/kms-baseline/verify/report"
)

// progress shows how far verify org is: on a terminal in one line that is
// written again every second, otherwise in a line every 30 seconds.
type progress struct {
	w        io.Writer
	terminal bool
	every    time.Duration
	total    int
	begun    time.Time

	mu      sync.Mutex
	running map[string]time.Time // since when, by account
	done    int
	bad     map[report.Status]int
}

// newProgress is progress on stderr over as many accounts as total.
func newProgress(o *options, total int) *progress {
	p := &progress{w: o.stderr, every: 30 * time.Second, total: total, begun: time.Now(), running: map[string]time.Time{}, bad: map[report.Status]int{}}
	if f, ok := o.stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.terminal, p.every = true, time.Second
	}
	if o.quiet {
		p.w = io.Discard
	}
	return p
}

func (p *progress) started(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running[id] = time.Now()
}

func (p *progress) finished(a report.Account) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.running, a.ID)
	p.done++
	p.bad[a.Verdict]++
}

// line is the progress in a line.
func (p *progress) line(now time.Time) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := fmt.Sprintf("%d of %d accounts done", p.done, p.total)
	for _, st := range []report.Status{report.Fail, report.Error, report.Inconclusive} {
		if p.bad[st] > 0 {
			s += fmt.Sprintf(", %d %s", p.bad[st], st)
		}
	}
	if len(p.running) > 0 {
		ids := slices.SortedFunc(maps.Keys(p.running), func(a, b string) int { return p.running[a].Compare(p.running[b]) })
		s += fmt.Sprintf("; %d running, %s for %s", len(ids), ids[0], now.Sub(p.running[ids[0]]).Round(time.Second))
	}
	if left := p.total - p.done; p.done > 0 && left > 0 {
		rest := now.Sub(p.begun) / time.Duration(p.done) * time.Duration(left)
		s += fmt.Sprintf("; about %s left", rest.Round(time.Second))
	}
	return s
}

// show writes lines until the function that it returns is called.
func (p *progress) show() (stop func()) {
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(p.every)
		defer tick.Stop()
		for {
			select {
			case <-end:
				if p.terminal {
					fmt.Fprint(p.w, "\r\x1b[K") // the report follows
				}
				return
			case now := <-tick.C:
				if p.terminal {
					fmt.Fprint(p.w, "\r\x1b[K"+p.line(now))
				} else {
					fmt.Fprintln(p.w, p.line(now))
				}
			}
		}
	}()
	return func() { close(end); <-ended }
}
