// Command pictures writes the recording of the demo that README.md shows, from a
// real run: go run ./e2e/pictures docs/demo.svg. `make pictures` runs it.
package main

import (
	"bufio"
	"context"
	"fmt"
	"html"
	"log"
	"os"
	"os/exec"
	"strings"
	"time"
	"unicode/utf8"
)

// line is a line of output and when it is to appear.
type line struct {
	text string
	at   time.Duration
}

const (
	longestPause = 900 * time.Millisecond // a longer one in the run is cut to this
	shortest     = 120 * time.Millisecond // between two lines
	hold         = 8 * time.Second        // of the last picture, before it starts again

	columns, rows         = 110, 34
	charWidth, lineHeight = 7.85, 17.0
	margin                = 14.0
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("pictures: ")
	if len(os.Args) != 2 {
		log.Fatal("usage: pictures FILE.svg")
	}
	lines, err := record(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	picture := draw(lines)
	if root, err := os.Getwd(); err != nil || strings.Contains(picture, root) {
		log.Fatal("the picture would show the path of this machine's folder")
	}
	if err := os.WriteFile(os.Args[1], []byte(picture), 0o644); err != nil { // a page for every reader
		log.Fatal(err)
	}
}

// record runs the demo and keeps each line with its time.
func record(ctx context.Context) ([]line, error) {
	root, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "go", "run", "./sandbox", "demo")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	lines := []line{{text: "$ make demo"}} // at once: a list of times begins with 0
	at, last := time.Second, time.Now()
	for scan := bufio.NewScanner(out); scan.Scan(); {
		at += max(shortest, min(time.Since(last), longestPause))
		last = time.Now()
		text := strings.ReplaceAll(scan.Text(), root, "~/kms-baseline")
		lines = append(lines, line{fit(text), at})
	}
	return lines, cmd.Wait()
}

// fit cuts a line to the width of the picture.
func fit(s string) string {
	if utf8.RuneCountInString(s) <= columns {
		return s
	}
	return string([]rune(s)[:columns-3]) + "..."
}

// draw is an SVG in which the lines appear in their time and scroll.
func draw(lines []line) string {
	var b strings.Builder
	total := lines[len(lines)-1].at + hold
	width, height := columns*charWidth+2*margin, rows*lineHeight+2*margin
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" role="img" aria-label="A recording of make demo">
<style>
svg { background: #101418; border-radius: 8px }
text { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #d7dde3; white-space: pre; opacity: 0; animation: show %.2fs infinite step-end }
.step { fill: #8ec7ff; font-weight: 700 } .command { fill: #f0c674 } .good { fill: #8fd18f } .bad { fill: #f2777a }
@keyframes show { 0%% { opacity: 1 } }
@media (prefers-reduced-motion: reduce) { text { opacity: 1; animation: none } }
</style>
<clipPath id="screen"><rect x="0" y="%.0f" width="%.0f" height="%.0f"/></clipPath>
<g clip-path="url(#screen)"><g>
`, width, height, total.Seconds(), margin, width, rows*lineHeight)
	// The lines scroll once the screen is full: a step for each line.
	var values, times []string
	for i, l := range lines {
		if i >= rows || i == 0 {
			up := max(0, i-rows+1)
			values = append(values, fmt.Sprintf("0 %.0f", -float64(up)*lineHeight))
			times = append(times, fmt.Sprintf("%.4f", l.at.Seconds()/total.Seconds()))
		}
	}
	fmt.Fprintf(&b, `<animateTransform attributeName="transform" type="translate" calcMode="discrete" repeatCount="indefinite" dur="%.2fs" values="%s" keyTimes="%s"/>`+"\n",
		total.Seconds(), strings.Join(values, ";"), strings.Join(times, ";"))
	for i, l := range lines {
		if l.text == "" {
			continue
		}
		from := 100 * l.at.Seconds() / total.Seconds()
		fmt.Fprintf(&b, `<text%s x="%.0f" y="%.1f" style="animation-name:l%d">%s</text>`, class(l.text), margin, margin+float64(i+1)*lineHeight-4, i, html.EscapeString(l.text))
		fmt.Fprintf(&b, "<style>@keyframes l%d{0%%{opacity:0}%.2f%%{opacity:1}}</style>\n", i, from)
	}
	b.WriteString("</g></g>\n</svg>\n")
	return b.String()
}

// class is the style of a line.
func class(s string) string {
	switch t := strings.TrimSpace(s); {
	case strings.HasPrefix(t, "== "):
		return ` class="step"`
	case strings.HasPrefix(t, "$ "):
		return ` class="command"`
	case strings.HasPrefix(t, "✓"), strings.HasPrefix(t, "ok "):
		return ` class="good"`
	case strings.HasPrefix(t, "!"), strings.HasPrefix(t, "~"):
		return ` class="bad"`
	}
	return ""
}
