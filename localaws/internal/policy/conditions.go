package policy

import (
	"encoding/json"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Condition is one line of a statement's Condition: an operator, a condition
// key, and the values to compare it with.
// Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
type Condition struct {
	Set      string // "", "ForAllValues" or "ForAnyValue"
	Operator Operator
	IfExists bool
	Key      string // in lower case
	Values   []string
}

// Operator is a condition operator without its IfExists.
type Operator struct {
	Null   bool // Null: whether the key is absent
	Negate bool // holds where no value fits, and where the key is absent
	wild   bool // * and ? in the policy's value mean something
	// valid reports whether the policy's value can be compared with at all.
	valid func(value string) bool
	// fits compares the policy's value with the request's.
	fits func(pattern []rune, value string) bool
}

func isAnything(string) bool { return true }

func isBool(v string) bool { return strings.EqualFold(v, "true") || strings.EqualFold(v, "false") }

func equal(pattern []rune, value string) bool { return string(pattern) == value }

func equalFold(pattern []rune, value string) bool { return strings.EqualFold(string(pattern), value) }

// matchARN compares ARNs component by component, so that a wildcard does not
// reach beyond its colon, except in the last.
func matchARN(pattern []rune, value string) bool {
	values := strings.SplitN(value, ":", 6)
	if len(values) != 6 {
		return false
	}
	for i, v := range values {
		end := slices.Index(pattern, ':')
		last := i == len(values)-1
		if last || end < 0 {
			return last && Match(pattern, v) || len(pattern) == 1 && pattern[0] == anyRun
		}
		if !Match(pattern[:end], v) {
			return false
		}
		pattern = pattern[end+1:]
	}
	return false
}

func isNumber(v string) bool { _, err := strconv.ParseFloat(v, 64); return err == nil }

// number makes an operator of a comparison of the request's number with the
// policy's.
func number(holds func(request, policy float64) bool) Operator {
	return Operator{valid: isNumber, fits: func(pattern []rune, value string) bool {
		p, err := strconv.ParseFloat(string(pattern), 64)
		v, err2 := strconv.ParseFloat(value, 64)
		return err == nil && err2 == nil && holds(v, p)
	}}
}

// date reads a date of ISO 8601 or seconds since 1970.
func date(v string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", "2006-01-02"} {
		if t, err := time.Parse(layout, v); err == nil {
			return t, true
		}
	}
	seconds, err := strconv.ParseInt(v, 10, 64)
	return time.Unix(seconds, 0), err == nil
}

func isDate(v string) bool { _, ok := date(v); return ok }

// dates makes an operator of a comparison of the request's time with the
// policy's: -1 earlier, 0 the same, 1 later.
func dates(holds func(order int) bool) Operator {
	return Operator{valid: isDate, fits: func(pattern []rune, value string) bool {
		p, ok := date(string(pattern))
		v, ok2 := date(value)
		return ok && ok2 && holds(v.Compare(p))
	}}
}

func network(v string) (netip.Prefix, bool) {
	if p, err := netip.ParsePrefix(v); err == nil {
		return p.Masked(), true
	}
	a, err := netip.ParseAddr(v)
	if err != nil {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, a.BitLen()), true
}

func isNetwork(v string) bool { _, ok := network(v); return ok }

func inNetwork(pattern []rune, value string) bool {
	p, ok := network(string(pattern))
	a, err := netip.ParseAddr(value)
	return ok && err == nil && p.Contains(a.Unmap())
}

var (
	stringEquals     = Operator{valid: isAnything, fits: equal}
	stringIgnoreCase = Operator{valid: isAnything, fits: equalFold}
	stringLike       = Operator{valid: isAnything, fits: Match, wild: true}
	arnLike          = Operator{valid: isAnything, fits: matchARN, wild: true}
	numericEquals    = number(func(v, p float64) bool { return v == p })
	dateEquals       = dates(func(o int) bool { return o == 0 })
	ipAddress        = Operator{valid: isNetwork, fits: inNetwork}
)

func not(o Operator) Operator {
	o.Negate = true
	return o
}

var operators = map[string]Operator{
	"Null":                      {Null: true, valid: isBool},
	"Bool":                      {valid: isBool, fits: equalFold},
	"StringEquals":              stringEquals,
	"StringNotEquals":           not(stringEquals),
	"StringEqualsIgnoreCase":    stringIgnoreCase,
	"StringNotEqualsIgnoreCase": not(stringIgnoreCase),
	"StringLike":                stringLike,
	"StringNotLike":             not(stringLike),
	"ArnEquals":                 arnLike, // behaves as ArnLike does
	"ArnLike":                   arnLike,
	"ArnNotEquals":              not(arnLike),
	"ArnNotLike":                not(arnLike),
	"NumericEquals":             numericEquals,
	"NumericNotEquals":          not(numericEquals),
	"NumericLessThan":           number(func(v, p float64) bool { return v < p }),
	"NumericLessThanEquals":     number(func(v, p float64) bool { return v <= p }),
	"NumericGreaterThan":        number(func(v, p float64) bool { return v > p }),
	"NumericGreaterThanEquals":  number(func(v, p float64) bool { return v >= p }),
	"DateEquals":                dateEquals,
	"DateNotEquals":             not(dateEquals),
	"DateLessThan":              dates(func(o int) bool { return o < 0 }),
	"DateLessThanEquals":        dates(func(o int) bool { return o <= 0 }),
	"DateGreaterThan":           dates(func(o int) bool { return o > 0 }),
	"DateGreaterThanEquals":     dates(func(o int) bool { return o >= 0 }),
	"IpAddress":                 ipAddress,
	"NotIpAddress":              not(ipAddress),
}

// readConditions refuses an operator that it does not know (BinaryEquals among
// them): to ignore one silently would be to allow what the policy does not.
func readConditions(raw json.RawMessage) ([]Condition, error) {
	byOperator, err := readObject(raw)
	if err != nil {
		return nil, malformed("Condition: %v", err)
	}
	var out []Condition
	for _, name := range slices.Sorted(maps.Keys(byOperator)) {
		set, bare, isSet := strings.Cut(name, ":")
		if !isSet {
			set, bare = "", name
		}
		bare, ifExists := strings.CutSuffix(bare, "IfExists")
		op, known := operators[bare]
		if !known || isSet && set != "ForAllValues" && set != "ForAnyValue" || op.Null && (ifExists || isSet) {
			return nil, malformed("Invalid Condition type : %s", name)
		}
		byKey, err := readObject(byOperator[name])
		if err != nil {
			return nil, malformed("Condition %s: %v", name, err)
		}
		for _, key := range slices.Sorted(maps.Keys(byKey)) {
			if vendor, rest, ok := strings.Cut(key, ":"); !ok || vendor == "" || rest == "" {
				return nil, malformed("Policy has an invalid condition key: %q", key)
			}
			values, err := readStrings(byKey[key])
			if err != nil {
				return nil, malformed("Condition %s %s: %v", name, key, err)
			}
			for _, v := range values {
				if !strings.Contains(v, "${") && !op.valid(v) {
					return nil, malformed("Condition %s %s: invalid value %q", name, key, v)
				}
			}
			out = append(out, Condition{set, op, ifExists, strings.ToLower(key), values})
		}
	}
	return out, nil
}

// holds reports whether the condition holds for the request.
func (c Condition) holds(st Statement, a Access) bool {
	values, present := a.value(c.Key)
	if c.Operator.Null {
		wantAbsent := slices.ContainsFunc(c.Values, func(v string) bool { return strings.EqualFold(v, "true") })
		return wantAbsent != present
	}
	if !present {
		return c.IfExists || c.Set == "ForAllValues" || c.Operator.Negate && c.Set == ""
	}
	one := func(value string) bool {
		return c.Operator.Negate != slices.ContainsFunc(c.Values, func(text string) bool {
			pattern, ok := st.expand(text, a, c.Operator.wild)
			return ok && c.Operator.fits(pattern, value)
		})
	}
	if c.Set == "ForAllValues" || c.Set == "" && c.Operator.Negate {
		return !slices.ContainsFunc(values, func(v string) bool { return !one(v) })
	}
	return slices.ContainsFunc(values, one)
}
