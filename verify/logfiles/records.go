package logfiles

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// maxRecord is the largest record that is read: CloudTrail truncates fields of
// an event above 1 MB.
const maxRecord = 4 << 20

// formatError is why content is not a log file's.
type formatError struct{ reason string }

func (e formatError) Error() string { return e.reason }

var errFormat = formatError{`it is not {"Records": [...]}`}

// errEnd is the end of the content where more must follow.
var errEnd = formatError{"it ends in the middle"}

// splitRecords calls f with each element of the array in {"Records": [...]},
// which is valid until f returns. What follows the first error is not read. It finds where an element ends, and leaves it
// to the caller to decode those that matter: most do not, and decoding costs
// far more than reading.
func splitRecords(in io.Reader, f func(record []byte) error) error {
	s := &splitter{in: in, buf: make([]byte, 0, 256<<10)}
	for _, token := range []string{"{", `"Records"`, ":", "["} {
		if err := s.expect(token); err != nil {
			return err
		}
	}
	for first := true; ; first = false {
		c, err := s.next()
		if err != nil {
			return err
		}
		if c == ']' && first {
			break
		}
		if !first {
			if c == ']' {
				break
			}
			if c != ',' {
				return errFormat
			}
			s.pos++
			if c, err = s.next(); err != nil {
				return err
			}
		}
		if c != '{' {
			return errFormat
		}
		record, err := s.object()
		if err != nil {
			return err
		}
		if err := f(record); err != nil {
			return err
		}
	}
	for _, token := range []string{"]", "}"} {
		if err := s.expect(token); err != nil {
			return err
		}
	}
	_, err := s.next()
	switch {
	case err == nil:
		return errFormat
	case errors.Is(err, errEnd):
		return nil
	}
	return err
}

// splitter scans JSON; buf[pos:] is what is read and not used.
type splitter struct {
	in   io.Reader
	buf  []byte
	pos  int
	done bool
}

// fill reads more behind buf, moving what is from start on to its beginning.
func (s *splitter) fill(start int) error {
	if s.done {
		return errEnd
	}
	n := copy(s.buf, s.buf[start:])
	s.buf = s.buf[:n]
	if n == cap(s.buf) {
		if n > maxRecord {
			return formatError{fmt.Sprintf("a record has more than %d MB", maxRecord>>20)}
		}
		s.buf = append(make([]byte, 0, 2*n), s.buf...)
	}
	for {
		m, err := s.in.Read(s.buf[n:cap(s.buf)])
		s.buf = s.buf[:n+m]
		if errors.Is(err, io.EOF) {
			s.done = true
			err = nil
			if m == 0 {
				err = errEnd
			}
		}
		if m > 0 || err != nil {
			return err
		}
	}
}

// next skips white space and returns the byte behind it, without using it.
func (s *splitter) next() (byte, error) {
	for {
		for ; s.pos < len(s.buf); s.pos++ {
			switch c := s.buf[s.pos]; c {
			case ' ', '\t', '\r', '\n':
			default:
				return c, nil
			}
		}
		if err := s.fill(s.pos); err != nil {
			return 0, err
		}
		s.pos = 0
	}
}

// expect uses white space and token.
func (s *splitter) expect(token string) error {
	if _, err := s.next(); err != nil {
		return err
	}
	for len(s.buf)-s.pos < len(token) {
		if err := s.fill(s.pos); err != nil {
			return err
		}
		s.pos = 0
	}
	if string(s.buf[s.pos:s.pos+len(token)]) != token {
		return errFormat
	}
	s.pos += len(token)
	return nil
}

// object uses the object that begins at pos and returns it.
func (s *splitter) object() ([]byte, error) {
	depth, inString := 0, false
	i := s.pos
	for {
		for i < len(s.buf) {
			if inString {
				end := bytes.IndexByte(s.buf[i:], '"')
				if end < 0 {
					i = len(s.buf)
					break
				}
				i += end + 1
				inString = escaped(s.buf[s.pos : i-1])
				continue
			}
			c := s.buf[i]
			i++
			switch c {
			case '"':
				inString = true
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					record := s.buf[s.pos:i]
					s.pos = i
					return record, nil
				}
			}
		}
		i -= s.pos
		if err := s.fill(s.pos); err != nil {
			return nil, err
		}
		s.pos = 0
	}
}

// escaped reports whether the byte behind b is escaped: b ends with an odd
// number of backslashes.
func escaped(b []byte) bool {
	n := 0
	for n < len(b) && b[len(b)-1-n] == '\\' {
		n++
	}
	return n%2 == 1
}
