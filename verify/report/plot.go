package report

import (
	"fmt"
	"time"
)

// usage is the key's use over time, counted per bin.
type usage struct {
	Step   time.Duration
	Bins   []usageBin
	Series []string // the KMS operations, in the order of the bars
	Totals []int    // by series
}

type usageBin struct {
	From, To time.Time
	Counts   []int // by series
}

// otherOperations is the series of what is neither of the two that S3 leaves.
const otherOperations = "other operations"

// steps are the widths of a bin that people read at a glance.
var steps = []time.Duration{
	time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute,
	time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour,
	24 * time.Hour, 7 * 24 * time.Hour,
}

// usageOf counts the events in at most maxBins bins, 7-day ones excepted: of
// these there are as many as it takes, and CloudTrail's 90 days take 14.
func usageOf(events []KeyUse, maxBins int) usage {
	if len(events) == 0 {
		return usage{}
	}
	first, last := events[0].Time, events[0].Time
	other := false
	for _, e := range events {
		if e.Time.Before(first) {
			first = e.Time
		}
		if e.Time.After(last) {
			last = e.Time
		}
		other = other || seriesOf(e) == 2
	}
	u := usage{Series: []string{"GenerateDataKey", "Decrypt"}}
	if other {
		u.Series = append(u.Series, otherOperations)
	}
	u.Totals = make([]int, len(u.Series))
	var start time.Time
	n := 0
	for _, u.Step = range steps {
		start = first.UTC().Truncate(u.Step)
		if n = int(last.Sub(start)/u.Step) + 1; n <= maxBins {
			break
		}
	}
	// A single burst is not a wall: leave time on both sides of it.
	const fewest = 6
	if n < fewest {
		start = start.Add(-u.Step * time.Duration((fewest-n)/2))
		n = fewest
	}
	for i := range n {
		from := start.Add(time.Duration(i) * u.Step)
		u.Bins = append(u.Bins, usageBin{from, from.Add(u.Step), make([]int, len(u.Series))})
	}
	for _, e := range events {
		u.Bins[int(e.Time.Sub(start)/u.Step)].Counts[seriesOf(e)]++
		u.Totals[seriesOf(e)]++
	}
	return u
}

func seriesOf(e KeyUse) int {
	switch e.Name {
	case "GenerateDataKey":
		return 0
	case "Decrypt":
		return 1
	default:
		return 2
	}
}

// StepText is the width of a bin: "5 min".
func (u usage) StepText() string {
	switch {
	case u.Step < time.Hour:
		return fmt.Sprintf("%d min", u.Step/time.Minute)
	case u.Step < 24*time.Hour:
		return fmt.Sprintf("%d h", u.Step/time.Hour)
	case u.Step == 24*time.Hour:
		return "day"
	default:
		return "week"
	}
}

// From and To are the ends of the time axis.
func (u usage) From() time.Time { return u.Bins[0].From }

// To is the end of the last bin.
func (u usage) To() time.Time { return u.Bins[len(u.Bins)-1].To }

// words is the text alternative of the plot.
func (u usage) words() string {
	s := fmt.Sprintf("Events per %s from %s to %s:", u.StepText(), utc(u.From()), utc(u.To()))
	for i, name := range u.Series {
		most, at := 0, usageBin{}
		for _, b := range u.Bins {
			if b.Counts[i] > most {
				most, at = b.Counts[i], b
			}
		}
		s += fmt.Sprintf(" %d of %s", u.Totals[i], name)
		if most > 0 {
			s += fmt.Sprintf(", at most %d per %s, at %s", most, u.StepText(), utc(at.From))
		}
		s += ";"
	}
	return s[:len(s)-1] + "."
}

// plotSVG is the usage laid out as bars beside each other.
type plotSVG struct {
	ID                       string // unique in the page
	Width, Height            int
	Left, Top, Right, Bottom int // of the area inside the axes
	Bars                     []plotBar
	XTicks, YTicks           []plotTick
	XTitle, YTitle           string
	Mark                     *plotMark // nil without one
	Text                     string
}

// plotMark is the event that proves the write of an object.
type plotMark struct {
	At, TextAt float64
	Anchor     string
	Text       string
}

type plotBar struct {
	X, Y, Width, Height float64
	Series              int
	Text                string // the tooltip
}

type plotTick struct {
	At   float64
	Text string
}

// plot lays the usage out. write is the event of the object's write, which is
// marked; its zero value is none.
func (u usage) plot(id string, width, height int, write KeyUse) plotSVG {
	p := plotSVG{
		ID: id, Width: width, Height: height,
		Left: 52, Top: 20, Right: width - 12, Bottom: height - 46,
		YTitle: "events per " + u.StepText(),
		Text:   u.words(),
	}
	most := 1
	for _, b := range u.Bins {
		for _, n := range b.Counts {
			most = max(most, n)
		}
	}
	unit := niceStep(most)
	top := (most + unit - 1) / unit * unit
	y := func(n int) float64 {
		return float64(p.Bottom) - float64(n)/float64(top)*float64(p.Bottom-p.Top)
	}
	for n := 0; n <= top; n += unit {
		p.YTicks = append(p.YTicks, plotTick{y(n), fmt.Sprint(n)})
	}

	binWidth := float64(p.Right-p.Left) / float64(len(u.Bins))
	barWidth := min(binWidth*0.8/float64(len(u.Series)), 28)
	layout, labelWidth := "15:04", 44.0
	if u.Step >= 24*time.Hour || u.To().Sub(u.From()) > 24*time.Hour {
		layout, labelWidth = "01-02", 46
		if u.Step < 24*time.Hour {
			layout, labelWidth = "01-02 15:04", 84
		}
	}
	every := int(labelWidth/binWidth) + 1
	for i, b := range u.Bins {
		left := float64(p.Left) + float64(i)*binWidth
		if i%every == 0 && left+labelWidth/2 < float64(width) {
			p.XTicks = append(p.XTicks, plotTick{left, b.From.Format(layout)})
		}
		start := left + (binWidth-barWidth*float64(len(u.Series)))/2
		for s, n := range b.Counts {
			if n == 0 {
				continue
			}
			p.Bars = append(p.Bars, plotBar{
				X: start + float64(s)*barWidth, Y: y(n), Width: barWidth - 1, Height: float64(p.Bottom) - y(n),
				Series: s,
				Text:   fmt.Sprintf("%d %s from %s to %s", n, u.Series[s], utc(b.From), utc(b.To)),
			})
		}
	}
	if at := write.Time; !at.IsZero() && !at.Before(u.From()) && at.Before(u.To()) {
		x := float64(p.Left) + float64(at.Sub(u.From()))/float64(u.To().Sub(u.From()))*float64(p.Right-p.Left)
		p.Mark = &plotMark{At: x, TextAt: x + 5, Anchor: "start", Text: "object written"}
		const room = 100 // for the text
		if x > float64(p.Right-room) {
			p.Mark.TextAt, p.Mark.Anchor = x-5, "end"
		}
		p.Text += " The write of the object was recorded at " + utc(at) + "."
	}
	p.XTitle = "time (UTC), " + u.From().Format("2006-01-02")
	if last := u.To().Add(-time.Nanosecond); last.Format("2006-01-02") != u.From().Format("2006-01-02") {
		p.XTitle += " to " + last.Format("2006-01-02")
	}
	return p
}

// niceStep is the distance of the marks on an axis from 0 to most: 1, 2 or 5
// times a power of ten, and at most five of them.
func niceStep(most int) int {
	for unit := 1; ; unit *= 10 {
		for _, n := range []int{unit, 2 * unit, 5 * unit} {
			if (most+n-1)/n <= 5 {
				return n
			}
		}
	}
}
