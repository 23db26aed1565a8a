package report

import (
	"fmt"
	"slices"
	"strings"
)

// chain is the picture of the proof: the key, the bucket that uses it, the
// object written there and the event that its encryption left.
type chain struct {
	Nodes []chainNode
	Links []chainLink
}

// chainNode is one thing in the chain.
type chainNode struct {
	Kind string // "KMS key"
	Name string // as AWS writes it; empty where it is unknown
	Note string // a line about it
}

// chainLink joins a node to the next one.
type chainLink struct {
	Label  string // "encrypts"
	Claim  string // what the checks prove, as a sentence
	Status Status // the worst of the checks; Skipped where none was run
	Checks []Result
}

// Word is the status for the reader: a link without checks was not checked,
// rather than skipped.
func (l chainLink) Word() string {
	if l.Status == Skipped {
		return "not checked"
	}
	return string(l.Status)
}

// Sign is the status as a character.
func (l chainLink) Sign() string { return l.Status.sign() }

// defaultKeyCheck is the check that ties the bucket to the key; the other
// checks of its group are about the bucket alone.
const defaultKeyCheck = "bucket.encryption"

func chainOf(r *Report) chain {
	s := r.Subject
	pick := func(match func(Result) bool) []Result {
		return slices.DeleteFunc(slices.Clone(r.Results), func(x Result) bool { return !match(x) })
	}
	inGroup := func(name string) []Result {
		return pick(func(x Result) bool { return x.Group == name })
	}
	link := func(label, claim string, checks []Result) chainLink {
		return chainLink{label, claim, worst(checks), checks}
	}

	object := chainNode{Kind: "S3 object", Note: "none checked"}
	if len(s.Objects) > 0 {
		object.Name = s.Objects[0]
	}
	if s.ObjectCount > 0 {
		object.Note = plural(s.ObjectCount, "object") + " checked"
	}
	if name, n := failedObject(r); n > 0 {
		object.Name, object.Note = name, fmt.Sprintf("%d of %d failed", n, s.ObjectCount)
	}
	event := chainNode{Kind: "CloudTrail event", Note: "none seen"}
	if e, ok := provingEvent(r); ok {
		event.Name = e.EventID
		event.Note = orElse(e.Name, utc(e.Time))
	}
	return chain{
		Nodes: []chainNode{
			{"KMS key", s.KeyARN, orElse(s.Alias, tally(inGroup("key")))},
			{"S3 bucket", s.Bucket, tally(inGroup("bucket"))},
			object,
			event,
		},
		Links: []chainLink{
			link("is default in", "The bucket encrypts new objects with this key by default.",
				pick(func(x Result) bool { return x.ID == defaultKeyCheck })),
			link("encrypts", "The current versions of the selected objects are encrypted under this key.", inGroup("object")),
			link("logged as", "CloudTrail recorded the use of the key for them.", inGroup("trail")),
		},
	}
}

// failedObject is the first object that failed, and how many did.
func failedObject(r *Report) (name string, count int) {
	for _, x := range r.Results {
		if x.Group != "object" || x.Status != Fail || len(x.Failures) == 0 {
			continue
		}
		name, _, _ = strings.Cut(x.Failures[0], ": ") // "NAME: why"
		for _, o := range r.Subject.Objects {
			if strings.HasPrefix(x.Failures[0], o+": ") {
				name = o
			}
		}
		return name, max(x.FailureCount, len(x.Failures))
	}
	return "", 0
}

// proofOfWrite is the event that proves the write of an object, if a check
// passed on it.
func (r *Report) proofOfWrite() KeyUse {
	for _, x := range r.Results {
		if x.Group != "trail" || x.Status != Pass {
			continue
		}
		for _, ev := range x.Evidence {
			for _, e := range r.Events {
				if e.EventID == ev.EventID && e.Name == "GenerateDataKey" {
					return e
				}
			}
		}
	}
	return KeyUse{}
}

// provingEvent is the event that the trail's results name first, or else the
// latest use of the key.
func provingEvent(r *Report) (KeyUse, bool) {
	for _, x := range r.Results {
		for _, ev := range x.Evidence {
			if x.Group != "trail" || ev.EventID == "" {
				continue
			}
			for _, e := range r.Events {
				if e.EventID == ev.EventID {
					return e, true
				}
			}
			return KeyUse{EventID: ev.EventID, Time: ev.Time}, true
		}
	}
	if len(r.Events) == 0 {
		return KeyUse{}, false
	}
	return r.Events[len(r.Events)-1], true
}

func tally(results []Result) string {
	if len(results) == 0 {
		return "not checked"
	}
	s := Report{Results: results}
	s.Judge()
	return fmt.Sprintf("%d of %s pass", s.Summary.Pass, plural(len(results)-s.Summary.Skipped, "check"))
}

// chainSVG is the chain laid out: across for a wide window, down for a narrow
// one.
type chainSVG struct {
	ID            string // unique in the page
	Width, Height int
	Nodes         []nodeBox
	Links         []linkLine
	Text          string // the whole picture in words
}

type nodeBox struct {
	chainNode
	X, Y, Width, Height int
	Short               string // Name, cut to fit
}

type linkLine struct {
	chainLink
	X1, Y1, X2, Y2 int
	MidX, MidY     int // the sign's center
	LabelX, LabelY int
	WordX, WordY   int
	Anchor         string // of the two texts
}

const (
	nodeHeight = 74
	nodeAcross = 192 // a node's width in the wide layout
	gapAcross  = 96
	nodeDown   = 320 // and in the narrow one
	gapDown    = 52
	charWidth  = 7.3 // of the monospace font at 12 px
)

func (c chain) across() chainSVG {
	svg := chainSVG{ID: "chain-wide", Height: nodeHeight, Text: c.words()}
	for i, n := range c.Nodes {
		x := i * (nodeAcross + gapAcross)
		svg.Nodes = append(svg.Nodes, n.box(x, 0, nodeAcross))
		svg.Width = x + nodeAcross
	}
	for i, l := range c.Links {
		x := svg.Nodes[i].X + nodeAcross
		mid := x + gapAcross/2
		svg.Links = append(svg.Links, linkLine{
			chainLink: l, X1: x, Y1: nodeHeight / 2, X2: x + gapAcross, Y2: nodeHeight / 2,
			MidX: mid, MidY: nodeHeight / 2,
			LabelX: mid, LabelY: nodeHeight/2 - 21, WordX: mid, WordY: nodeHeight/2 + 30, Anchor: "middle",
		})
	}
	return svg
}

func (c chain) down() chainSVG {
	svg := chainSVG{ID: "chain-narrow", Width: nodeDown, Text: c.words()}
	for i, n := range c.Nodes {
		y := i * (nodeHeight + gapDown)
		svg.Nodes = append(svg.Nodes, n.box(0, y, nodeDown))
		svg.Height = y + nodeHeight
	}
	const x = 40
	for i, l := range c.Links {
		y := svg.Nodes[i].Y + nodeHeight
		mid := y + gapDown/2
		svg.Links = append(svg.Links, linkLine{
			chainLink: l, X1: x, Y1: y, X2: x, Y2: y + gapDown,
			MidX: x, MidY: mid,
			LabelX: x + 26, LabelY: mid - 4, WordX: x + 26, WordY: mid + 13, Anchor: "start",
		})
	}
	return svg
}

func (n chainNode) box(x, y, width int) nodeBox {
	room := int(float64(width-28) / charWidth)
	short := shorten(lastPart(n.Name), room)
	n.Note = shorten(n.Note, room) // an alias may be long
	return nodeBox{n, x, y, width, nodeHeight, short}
}

// words is the text alternative of the chain.
func (c chain) words() string {
	var b strings.Builder
	for i, n := range c.Nodes {
		fmt.Fprintf(&b, "%s %s (%s). ", n.Kind, orElse(n.Name, "unknown"), n.Note)
		if i < len(c.Links) {
			fmt.Fprintf(&b, "%s: %s ", strings.TrimSuffix(c.Links[i].Claim, "."), c.Links[i].Word()+".")
		}
	}
	return strings.TrimSpace(b.String())
}

// lastPart is the key ID in an ARN, or the name itself.
func lastPart(arn string) string {
	if strings.HasPrefix(arn, "arn:") {
		if i := strings.LastIndex(arn, "/"); i >= 0 {
			return arn[i+1:]
		}
	}
	return arn
}

// shorten cuts the middle out of a name that has more than room columns.
func shorten(s string, room int) string {
	runes := []rune(s)
	if columns(s) <= room {
		return s
	}
	head, tail := room/2, (room-1)/2
	if len(runes) > head+tail {
		runes = slices.Concat(runes[:head], []rune("…"), runes[len(runes)-tail:])
	}
	for columns(string(runes)) > room { // wide characters
		runes = slices.Delete(runes, len(runes)/2, len(runes)/2+1)
	}
	return string(runes)
}
