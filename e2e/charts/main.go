// Command charts draws the charts of docs/benchmarks.md from the figures that
// `make bench` writes: charts FIGURES FOLDER. It draws what the figures have.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"image/color"
	"os"
	"path/filepath"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
)

// figures are what e2e/bench writes.
type figures struct {
	Machine   map[string]string `json:"machine"`
	Terraform []struct {
		Operation string  `json:"operation"`
		Command   string  `json:"terraform"`
		Baselines int     `json:"baselines"`
		Latency   float64 `json:"latencySeconds"`
		Pulumi    float64 `json:"pulumiSeconds"`
		Terraform float64 `json:"terraformSeconds"`
	} `json:"terraform"`
	FirstUp *struct {
		Steps []span  `json:"steps"`
		Calls []span  `json:"calls"`
		Total float64 `json:"totalSeconds"`
	} `json:"firstUp"`
	Scale []struct {
		Operation string  `json:"operation"`
		Baselines int     `json:"baselines"`
		Seconds   float64 `json:"seconds"`
	} `json:"scale"`
}

type span struct {
	Name  string  `json:"name"`
	Start float64 `json:"start"`
	End   float64 `json:"end"`
}

// Colors that stay apart for the color-blind.
// Source: https://jfly.uni-koeln.de/color/
var (
	blue   = color.RGBA{0, 114, 178, 255}
	orange = color.RGBA{230, 159, 0, 255}
	green  = color.RGBA{0, 158, 115, 255}
)

func main() {
	plot.DefaultFont.Typeface, plot.DefaultFont.Variant = "Liberation", "Sans"
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: charts FIGURES FOLDER")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintf(os.Stderr, "charts: error: %v\n", err)
		os.Exit(1)
	}
}

func run(file, folder string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var f figures
	if err := json.Unmarshal(text, &f); err != nil {
		return fmt.Errorf("reading %s: %w", file, err)
	}
	for name, chart := range map[string]func(figures) (*plot.Plot, vg.Length, error){
		"terraform": terraform, "first": firstUp, "scale": scale,
	} {
		p, height, err := chart(f)
		if errors.Is(err, errNone) {
			continue
		}
		if err == nil {
			err = save(p, height, filepath.Join(folder, "benchmarks-"+name+".png"))
		}
		if err != nil {
			return fmt.Errorf("the chart %s: %w", name, err)
		}
	}
	return nil
}

// save draws a chart, with twice the pixels of an ordinary screen. An SVG would name
// a font that its reader may not have, and the words would not fit.
func save(p *plot.Plot, height vg.Length, file string) error {
	canvas := vgimg.NewWith(vgimg.UseWH(20*vg.Centimeter, height), vgimg.UseDPI(192))
	p.Draw(draw.New(canvas))
	var picture bytes.Buffer
	if _, err := (vgimg.PngCanvas{Canvas: canvas}).WriteTo(&picture); err != nil {
		return err
	}
	return os.WriteFile(file, picture.Bytes(), 0o644)
}

// errNone is the error of a chart whose figures were not measured.
var errNone = errors.New("no figures")

func newPlot(title, x string) *plot.Plot {
	p := plot.New()
	p.BackgroundColor = color.White // legible on a dark page, too
	p.Title.Text, p.X.Label.Text = title, x
	p.Title.Padding = vg.Points(8)
	p.X.Min, p.Y.Min = 0, 0
	p.Legend.Top = true
	p.Legend.Padding, p.Legend.XOffs = vg.Points(2), -vg.Points(4)
	return p
}

// terraform is a pair of bars for each operation, size and latency.
func terraform(f figures) (*plot.Plot, vg.Length, error) {
	if len(f.Terraform) == 0 {
		return nil, 0, errNone
	}
	p := newPlot("The same resources by this project and by Terraform", "seconds")
	var ours, theirs plotter.Values
	var labels []string
	for i := len(f.Terraform) - 1; i >= 0; i-- { // the first is drawn at the top
		c := f.Terraform[i]
		ours, theirs = append(ours, c.Pulumi), append(theirs, c.Terraform)
		labels = append(labels, fmt.Sprintf("%s, %d, %.0f ms", c.Operation, c.Baselines, 1000*c.Latency))
	}
	const width = 9
	for i, bars := range []struct {
		name   string
		values plotter.Values
		color  color.Color
	}{{"this project", ours, blue}, {"Terraform", theirs, orange}} {
		b, err := plotter.NewBarChart(bars.values, vg.Points(width))
		if err != nil {
			return nil, 0, err
		}
		b.Horizontal, b.Color, b.LineStyle.Width = true, bars.color, 0
		b.Offset = vg.Points(width/2 - float64(i)*width)
		p.Add(b)
		p.Legend.Add(bars.name, b)
	}
	p.NominalY(labels...)
	p.Y.Label.Text = "operation, baselines, latency of a call"
	p.X.Max *= 1.3 // room for the legend, and for the end of the longest bar
	return p, 3*vg.Centimeter + vg.Length(len(labels))*vg.Centimeter, nil
}

// firstUp is a line for each resource and for the calls of each service.
func firstUp(f figures) (*plot.Plot, vg.Length, error) {
	if f.FirstUp == nil {
		return nil, 0, errNone
	}
	p := newPlot("The first up of one baseline, call by call", "seconds since the start of the command")
	type lane struct {
		name  string
		spans []span
		color color.Color
	}
	var lanes []lane
	for _, s := range f.FirstUp.Steps {
		lanes = append(lanes, lane{strings.TrimPrefix(s.Name, "baseline-0-"), []span{s}, blue})
	}
	services := map[string]int{}
	for _, c := range f.FirstUp.Calls {
		service, _, _ := strings.Cut(c.Name, ":")
		i, ok := services[service]
		if !ok {
			i = len(lanes)
			services[service] = i
			lanes = append(lanes, lane{"calls to " + service, nil, orange})
		}
		lanes[i].spans = append(lanes[i].spans, c)
	}
	lanes = append(lanes, lane{"the command", []span{{Start: 0, End: f.FirstUp.Total}}, green})
	var labels []string
	for i := range lanes {
		l := lanes[len(lanes)-1-i] // the first is drawn at the top
		labels = append(labels, l.name)
		for _, s := range l.spans {
			line, err := plotter.NewLine(plotter.XYs{{X: s.Start, Y: float64(i)}, {X: max(s.End, s.Start+f.FirstUp.Total/500), Y: float64(i)}})
			if err != nil {
				return nil, 0, err
			}
			line.Color, line.Width = l.color, vg.Points(8)
			p.Add(line)
		}
	}
	for _, l := range []lane{{"a resource", nil, blue}, {"calls to AWS", nil, orange}, {"all", nil, green}} {
		p.Legend.Add(l.name, &plotter.Line{LineStyle: draw.LineStyle{Color: l.color, Width: vg.Points(8)}})
	}
	p.NominalY(labels...)
	p.X.Max = 1.3 * f.FirstUp.Total // room for the legend
	p.Y.Label.Text = " "            // room for the longest name
	return p, 3*vg.Centimeter + vg.Length(len(lanes))*0.6*vg.Centimeter, nil
}

// scale is a line for each operation.
func scale(f figures) (*plot.Plot, vg.Length, error) {
	if len(f.Scale) == 0 {
		return nil, 0, errNone
	}
	p := newPlot("One stack with many baselines", "baselines")
	p.Y.Label.Text = "seconds"
	lines := map[string]plotter.XYs{}
	var names []string
	for _, s := range f.Scale {
		if lines[s.Operation] == nil {
			names = append(names, s.Operation)
		}
		lines[s.Operation] = append(lines[s.Operation], plotter.XY{X: float64(s.Baselines), Y: s.Seconds})
	}
	colors := []color.Color{blue, orange, green}
	for i, name := range names {
		line, points, err := plotter.NewLinePoints(lines[name])
		if err != nil {
			return nil, 0, err
		}
		line.Color, line.Width = colors[i%len(colors)], vg.Points(2)
		points.Color, points.Shape = line.Color, draw.CircleGlyph{}
		p.Add(line, points)
		p.Legend.Add(name, line, points)
	}
	p.X.Max *= 1.03 // room for the last number
	p.Legend.Left = true
	return p, 10 * vg.Centimeter, nil
}
