package report

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The page is looked at by a real browser, as a reader would open it: in frames
// as wide as a telephone, a tablet and a desktop, light and dark. A script in
// the page around the frames measures them; the reports themselves are served
// unchanged, so their own content security policy stays in force.
func TestWriteHTML_InABrowser(t *testing.T) {
	t.Parallel()
	chromium := findChromium(t)
	for _, scheme := range []string{"light", "dark"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			reports := map[string]*Report{"/sample.html": sample(), "/good.html": good(), "/empty.html": empty()}
			seen, requests, console := look(t, chromium, reports, []int{360, 768, 1280}, scheme)
			require.Empty(t, console)
			require.Equal(t, []string{"/", "/empty.html", "/good.html", "/sample.html"}, slices.Compact(requests),
				"a page asked for something")
			require.Len(t, seen, 9)
			for _, m := range seen {
				t.Run(fmt.Sprintf("%s at %d px", m.Path, m.Frame), func(t *testing.T) {
					t.Parallel()
					require.Equal(t, m.Frame, m.Width)
					require.LessOrEqual(t, m.ScrollWidth, m.Width, "the page scrolls sideways")
					require.Empty(t, m.TooWide)
					require.Equal(t, scheme == "dark", m.Dark)
					require.Contains(t, m.Verdict, reports[m.Path].headline())
					require.True(t, m.VerdictInView, "the verdict is not on the first screen")
					require.Empty(t, m.LowContrast)
					require.Empty(t, m.Overlong, "text runs out of its box")
					require.Equal(t, "header main footer", m.Landmarks)
					require.Empty(t, m.DuplicateIDs)
					require.Zero(t, m.Scripts)
					require.Zero(t, m.Resources, "the page loaded something")
				})
			}
		})
	}
}

// On paper nothing can be opened by a click.
func TestWriteHTML_OnPaper(t *testing.T) {
	t.Parallel()
	chromium := findChromium(t)
	pdftotext, err := exec.LookPath("pdftotext")
	if err != nil {
		t.Skip("no pdftotext (Debian: poppler-utils) on the PATH, so the printed page was not read")
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(w, render(t, "html", sample(), Options{}))
	}))
	defer server.Close()
	pdf := filepath.Join(t.TempDir(), "report.pdf")
	runChromium(t, chromium, "--no-pdf-header-footer", "--print-to-pdf="+pdf, server.URL)
	out, err := exec.CommandContext(t.Context(), pdftotext, "-layout", pdf, "-").Output()
	require.NoError(t, err)
	for _, x := range sample().Results {
		require.Contains(t, string(out), x.ID)
		for _, e := range x.Evidence {
			require.Contains(t, string(out), e.RequestID, "the evidence of %s is not printed", x.ID)
		}
	}
	require.Contains(t, string(out), "aws kms enable-key-rotation")

	bbox, err := exec.CommandContext(t.Context(), pdftotext, "-bbox", pdf, "-").Output()
	require.NoError(t, err)
	pages := strings.Split(string(bbox), "<page ")[1:]
	require.LessOrEqual(t, len(pages), 5)
	for i, page := range pages[:len(pages)-1] {
		lowest := 0.0
		for _, m := range regexp.MustCompile(`yMax="([0-9.]+)"`).FindAllStringSubmatch(page, -1) {
			y, err := strconv.ParseFloat(m[1], 64)
			require.NoError(t, err)
			lowest = max(lowest, y)
		}
		require.Greater(t, lowest, 842.0/2, "page %d of %d is half empty", i+1, len(pages))
	}
}

// findChromium finds the browser under its names in the distributions.
func findChromium(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a browser: not in a short run")
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("no chromium, chromium-browser or google-chrome on the PATH, so the page was not rendered")
	return ""
}

// browsers keeps the browsers at one at a time: each starts a dozen processes.
var browsers = make(chan struct{}, 1)

func runChromium(t *testing.T, chromium string, args ...string) (stdout, stderr string) {
	t.Helper()
	browsers <- struct{}{}
	defer func() { <-browsers }()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, chromium, append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--disable-dev-shm-usage", "--enable-logging=stderr", "--user-data-dir=" + t.TempDir(),
	}, args...)...)
	cmd.WaitDelay = 10 * time.Second
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	require.NoError(t, cmd.Run(), "%s", &errs)
	return out.String(), errs.String()
}

// measured is what the script below found in one frame.
type measured struct {
	Path               string
	Frame              int // its width
	Width, ScrollWidth int // of the page in it
	TooWide            []string
	Dark               bool
	Verdict            string
	VerdictInView      bool
	LowContrast        []string
	Overlong           []string
	Landmarks          string
	DuplicateIDs       []string
	Scripts, Resources int
}

func look(t *testing.T, chromium string, reports map[string]*Report, widths []int, scheme string) (seen []measured, requests, console []string) {
	t.Helper()
	var frames strings.Builder
	pages := map[string]string{}
	for path, r := range reports {
		pages[path] = render(t, "html", r, Options{})
		for _, width := range widths {
			fmt.Fprintf(&frames, `<iframe src="%s" style="border:0;width:%dpx;height:900px"></iframe>`, path, width)
		}
	}
	pages["/"] = strings.Replace(measuringPage, "FRAMES", frames.String(), 1)
	var mu sync.Mutex
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		requests = append(requests, r.URL.Path)
		mu.Unlock()
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = fmt.Fprint(w, pages[r.URL.Path])
	}))
	defer server.Close()
	blink := map[string]string{"light": "1", "dark": "0"}[scheme]
	dom, log := runChromium(t, chromium, "--window-size=1400,1000", "--hide-scrollbars", "--virtual-time-budget=10000",
		"--blink-settings=preferredColorScheme="+blink, "--dump-dom", server.URL+"/")
	_, rest, found := strings.Cut(dom, `<pre id="measured">`)
	require.True(t, found, "the script did not run: %s", log)
	text, _, _ := strings.Cut(rest, "</pre>")
	require.NoError(t, json.Unmarshal([]byte(html.UnescapeString(text)), &seen), text)
	for line := range strings.Lines(log) {
		if strings.Contains(line, "CONSOLE") {
			console = append(console, line)
		}
	}
	slices.Sort(requests)
	return seen, requests, console
}

const measuringPage = `<!doctype html><meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">
FRAMES
<script>
const measure = frame => {
  const win = frame.contentWindow, doc = frame.contentDocument, root = doc.documentElement;
  const style = e => win.getComputedStyle(e);
  for (const d of doc.querySelectorAll("details")) d.open = true;
  const say = e => e.tagName + " " + (e.textContent || "").trim().slice(0, 50);
  const all = [...doc.body.querySelectorAll("*")].filter(e => e.getClientRects().length);

  const rgb = c => (c.match(/[\d.]+/g) || [0, 0, 0, 0]).map(Number);
  const luminance = c => {
    const [r, g, b] = rgb(c).map(v => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const opaque = c => { const v = rgb(c); return v.length < 4 || v[3] > 0; };
  const behind = e => {
    const box = e.closest("g") && e.closest("g").querySelector("rect.box");
    if (box) return style(box).fill;
    for (; e; e = e.parentElement) if (opaque(style(e).backgroundColor)) return style(e).backgroundColor;
    return "rgb(255, 255, 255)";
  };
  const lowContrast = all.filter(e => [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())
    && !["title", "desc", "style"].includes(e.tagName)).map(e => {
    const ink = e instanceof win.SVGElement ? style(e).fill : style(e).color;
    const a = luminance(ink), b = luminance(behind(e));
    return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e];
  }).filter(([ratio]) => ratio < 4.5).map(([ratio, e]) => ratio.toFixed(2) + " " + say(e));

  const overlong = [];
  for (const g of doc.querySelectorAll("svg g")) {
    const box = g.querySelector("rect.box");
    if (!box || !box.getClientRects().length) continue;
    const right = box.getBoundingClientRect().right;
    for (const text of g.querySelectorAll("text")) if (text.getBoundingClientRect().right > right) overlong.push(say(text));
  }
  for (const svg of doc.querySelectorAll("svg")) {
    if (!svg.getClientRects().length) continue;
    const s = svg.getBoundingClientRect();
    for (const text of svg.querySelectorAll("text")) {
      const r = text.getBoundingClientRect();
      if (r.left < s.left - 1 || r.right > s.right + 1 || r.bottom > s.bottom + 1) overlong.push("out of the picture: " + say(text));
    }
  }
  const ids = [...doc.querySelectorAll("[id]")].map(e => e.id);
  const h1 = doc.querySelector("h1"), at = h1.getBoundingClientRect();
  return {
    Path: new URL(frame.src).pathname, Frame: frame.clientWidth,
    Width: root.clientWidth, ScrollWidth: root.scrollWidth,
    TooWide: all.filter(e => e.getBoundingClientRect().right > root.clientWidth + 1).map(say),
    Dark: win.matchMedia("(prefers-color-scheme: dark)").matches && luminance(style(doc.body).backgroundColor) < 0.2,
    Verdict: h1.innerText,
    VerdictInView: at.height > 0 && at.top >= 0 && at.bottom < 700,
    LowContrast: lowContrast, Overlong: overlong,
    Landmarks: [...doc.body.children].map(e => e.tagName.toLowerCase()).join(" "),
    DuplicateIDs: ids.filter((id, i) => ids.indexOf(id) !== i),
    Scripts: doc.scripts.length,
    Resources: win.performance.getEntriesByType("resource").length,
  };
};
addEventListener("load", () => {
  const pre = document.createElement("pre");
  pre.id = "measured";
  pre.textContent = JSON.stringify([...document.querySelectorAll("iframe")].map(measure));
  document.body.append(pre);
});
</script>`
