package report

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// clean makes a string from the account safe to show: an object's key or a
// role's session name may hold newlines, terminal escapes or characters that
// reorder the text around them. They are shown as escapes, on one line. So is
// the second of two "#", with which commands to some CI systems begin.
func clean(s string) string {
	s = strings.ReplaceAll(s, "##", "#"+escape('#'))
	if strings.IndexFunc(s, hidden) < 0 && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		c, n := utf8.DecodeRuneInString(s)
		switch {
		case c == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\t':
			b.WriteString(`\t`)
		case hidden(c):
			b.WriteString(escape(c))
		default:
			b.WriteRune(c)
		}
		s = s[n:]
	}
	return b.String()
}

// Line makes s safe to print as a part of a line: see clean. It masks values that
// look like credentials.
func Line(s string) string { return clean(maskSecrets(s)) }

// hidden reports whether a character acts on the text instead of showing in
// it: controls, format characters such as the bidirectional overrides, and the
// separators that some programs take for a newline. The two noncharacters are
// not allowed in XML.
func hidden(c rune) bool {
	return unicode.In(c, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) || c == 0xfffe || c == 0xffff
}

// escape is a character as JSON, Go and JavaScript write it.
func escape(c rune) string {
	if c > 0xffff {
		c -= 0x10000
		return fmt.Sprintf(`\u%04x\u%04x`, 0xd800+c>>10, 0xdc00+c&0x3ff)
	}
	return fmt.Sprintf(`\u%04x`, c)
}

// mapStrings is a deep copy of r in which f was applied to every string. It
// goes by reflection so that a field added later cannot be forgotten.
func mapStrings[T any](r *T, f func(string) string) *T {
	out := *r
	walkStrings(reflect.ValueOf(&out).Elem(), f)
	return &out
}

func walkStrings(v reflect.Value, f func(string) string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(f(v.String()))
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range v.NumField() {
			walkStrings(v.Field(i), f)
		}
	case reflect.Slice:
		if v.IsNil() {
			return
		}
		c := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		reflect.Copy(c, v)
		v.Set(c)
		for i := range c.Len() {
			walkStrings(c.Index(i), f)
		}
	}
}

// wrap breaks s into lines of at most width columns, at spaces where it can. A
// word that is longer than a line, as ARNs are, is broken after a separator.
func wrap(s string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(s) {
		for {
			sep := ""
			if line != "" {
				sep = " "
			}
			if columns(line)+len(sep)+columns(word) <= width {
				line += sep + word
				break
			}
			if columns(word) <= width {
				lines, line = append(lines, line), word
				break
			}
			// Too long for any line: fill up this one if at least half of it is free.
			room := width - columns(line) - len(sep)
			if room < width/2 {
				lines, line = append(lines, line), ""
				continue
			}
			head, tail := splitWord(word, room)
			lines, line, word = append(lines, line+sep+head), "", tail
		}
	}
	if line != "" || len(lines) == 0 {
		lines = append(lines, line)
	}
	return lines
}

// splitWord breaks a word so that its head takes at most width columns.
func splitWord(word string, width int) (head, tail string) {
	used, hard, soft := 0, len(word), 0
	for i, c := range word {
		if used += columns(string(c)); used > width {
			hard = i
			break
		}
		if used > width/2 && strings.ContainsRune("/:,;=&-_", c) {
			soft = i + utf8.RuneLen(c)
		}
	}
	if hard < len(word) && soft > 0 {
		return word[:soft], word[soft:]
	}
	if hard == 0 { // a wide character in a single column
		_, hard = utf8.DecodeRuneInString(word)
	}
	return word[:hard], word[hard:]
}

// wrapCommand breaks a shell command so that it can be pasted as it stands: at
// spaces outside quotes, with a backslash at the end of each line but the last.
// Words are never broken, so a line may be longer than width.
func wrapCommand(s string, width int) []string {
	var words []string
	var word strings.Builder
	var quote rune
	escaped := false
	for _, c := range s {
		switch {
		case escaped:
			escaped = false
		case c == '\\' && quote != '\'':
			escaped = true
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		case c == ' ':
			words = append(words, word.String())
			word.Reset()
			continue
		}
		word.WriteRune(c)
	}
	words = append(words, word.String())
	if quote != 0 {
		return []string{s}
	}
	for i := len(words) - 2; i > 0; i-- { // keep a flag and its value together
		if strings.HasPrefix(words[i], "--") && !strings.HasPrefix(words[i+1], "-") {
			words[i] += " " + words[i+1]
			words = slices.Delete(words, i+1, i+2)
		}
	}
	const continued = ` \`
	var lines []string
	line := ""
	for i, w := range words {
		limit := width - len(continued)
		if i == len(words)-1 {
			limit = width
		}
		switch {
		case line == "":
			line = w
		case columns(line)+1+columns(w) <= limit:
			line += " " + w
		default:
			lines = append(lines, line+continued)
			line = "  " + w
		}
	}
	return append(lines, line)
}

// columns is how many columns a terminal gives to s: none to combining marks,
// two to East Asian wide characters and emoji.
func columns(s string) int {
	n := 0
	for _, c := range s {
		switch {
		case unicode.In(c, unicode.Mn, unicode.Me):
		case unicode.In(c, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul),
			c >= 0x3000 && c <= 0x303f, c >= 0xff01 && c <= 0xff60, c >= 0x1f300 && c <= 0x1faff:
			n += 2
		default:
			n++
		}
	}
	return n
}
