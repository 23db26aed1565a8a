package athena

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// engine is a Trino.
// Source: https://trino.io/docs/current/develop/client-protocol.html
type engine struct{ url string }

type engineColumn struct{ Name, Type string }

type enginePage struct {
	ID      string
	NextURI string
	Columns []engineColumn
	Data    [][]any
	Stats   struct {
		State              string
		PhysicalInputBytes int64
		ElapsedTimeMillis  int64
		QueuedTimeMillis   int64
	}
	Error *struct{ Message, ErrorName, ErrorType string }
}

// engineError is why the engine refused or failed a query.
type engineError struct{ name, message string }

func (e engineError) Error() string { return e.name + ": " + e.message }

// errCutoff ends a query that scanned more than it may.
var errCutoff = errors.New("Bytes scanned limit was exceeded")

// run executes a statement. each is told of every page; its error, or the end of
// ctx, cancels the statement in the engine too.
func (e engine) run(ctx context.Context, statement, catalog, schema string, each func(enginePage) error) error {
	page, err := e.call(ctx, http.MethodPost, strings.TrimSuffix(e.url, "/")+"/v1/statement", statement, catalog, schema)
	for err == nil {
		if page.Error != nil {
			return engineError{page.Error.ErrorName, page.Error.Message}
		}
		if err = each(page); err == nil && ctx.Err() != nil {
			err = ctx.Err()
		}
		if page.NextURI == "" {
			return err
		}
		if err != nil {
			e.cancel(page.NextURI)
			return err
		}
		next := page.NextURI
		if page, err = e.call(ctx, http.MethodGet, next, "", "", ""); err != nil && ctx.Err() != nil {
			e.cancel(next)
		}
	}
	return err
}

// cancel ends a statement. It is called when there is no other use of the engine
// any more, so an error changes nothing.
func (e engine) cancel(next string) {
	ctx, done := context.WithTimeout(context.Background(), 5*time.Second)
	defer done()
	_, _ = e.call(ctx, http.MethodDelete, next, "", "", "")
}

func (e engine) call(ctx context.Context, method, url, body, catalog, schema string) (page enginePage, err error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return page, err
	}
	req.Header.Set("X-Trino-User", "athena")
	req.Header.Set("X-Trino-Source", "localaws")
	if catalog != "" {
		req.Header.Set("X-Trino-Catalog", strings.ToLower(catalog))
		if schema != "" {
			req.Header.Set("X-Trino-Schema", strings.ToLower(schema))
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return page, fmt.Errorf("Trino does not answer: %w", err)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNoContent:
		return page, nil
	case resp.StatusCode != http.StatusOK:
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 500)) // as far as it can be read
		return page, fmt.Errorf("Trino answers %s: %s", resp.Status, bytes.TrimSpace(text))
	}
	d := json.NewDecoder(resp.Body)
	d.UseNumber()
	if err := d.Decode(&page); err != nil {
		return page, fmt.Errorf("reading Trino's answer: %w", err)
	}
	return page, nil
}

// scalars are the types whose values Athena writes as Trino sends them.
var scalars = []string{"varchar", "char", "bigint", "integer", "smallint", "tinyint", "boolean", "date", "decimal"}

// athenaType is Athena's name of a column's type; an error where localaws does
// not know how Athena writes its values.
func athenaType(c engineColumn) (string, error) {
	name, _, _ := strings.Cut(c.Type, "(")
	if !slices.Contains(scalars, name) {
		return "", fmt.Errorf("NOT_SUPPORTED: localaws returns no columns of type %s: cast the column %s to VARCHAR", c.Type, c.Name)
	}
	return name, nil
}

// text is a value as Athena writes it; nil for null.
func text(v any) *string {
	var s string
	switch v := v.(type) {
	case nil:
		return nil
	case string:
		s = v
	default: // a number or a boolean
		s = fmt.Sprint(v)
	}
	return &s
}
