package check

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// trinoEngine is a Trino.
// Source: https://trino.io/docs/current/develop/client-protocol.html
type trinoEngine struct {
	base     *url.URL
	user     string
	password string
	client   *http.Client
}

// trinoPassword is the environment variable of the user's password.
const trinoPassword = "TRINO_PASSWORD"

// maxTrinoPage bounds one answer.
const maxTrinoPage = 256 << 20

// newTrinoEngine reads https://USER@HOST:PORT/CATALOG.SCHEMA.TABLE.
func newTrinoEngine(text string) (*trinoEngine, sqlTable, error) {
	var t sqlTable
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, t, errors.New("it is not a URL")
	}
	part := strings.Split(strings.Trim(u.Path, "/"), ".")
	if len(part) != len(t) || part[0] == "" || part[1] == "" || part[2] == "" {
		return nil, t, errors.New("its path is not CATALOG.SCHEMA.TABLE")
	}
	ip := net.ParseIP(u.Hostname())
	loopback := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback) {
		return nil, t, errors.New("only https is accepted, and http for this machine")
	}
	if _, set := u.User.Password(); set {
		return nil, t, errors.New("a password in a URL would be in reports: set " + trinoPassword)
	}
	e := &trinoEngine{base: &url.URL{Scheme: u.Scheme, Host: u.Host}, user: u.User.Username(), password: os.Getenv(trinoPassword), client: http.DefaultClient}
	if e.user == "" {
		e.user = "verify"
	}
	return e, sqlTable(part), nil
}

func (e *trinoEngine) call() string { return "trino:statement" }

func (e *trinoEngine) describe(ctx context.Context, t sqlTable, day string) (columns, partitions []string, format string, err error) {
	if day != "" {
		properties := identifiers([]string{t[0], t[1], t[2] + "$properties"})
		_, _, err = e.query(ctx, "SELECT "+identifier("projection."+day+".format")+" FROM "+properties, func(row []string) { format = row[0] })
		return nil, nil, format, err
	}
	_, _, err = e.query(ctx, "DESCRIBE "+identifiers(t[:]), func(row []string) {
		if len(row) > 2 && row[2] == "partition key" {
			partitions = append(partitions, row[0])
		} else {
			columns = append(columns, row[0])
		}
	})
	return columns, partitions, "", err
}

type trinoPage struct {
	ID      string
	NextURI string
	Data    [][]any
	Stats   struct{ PhysicalInputBytes int64 }
	Error   *struct{ Message, ErrorName string }
}

func (e *trinoEngine) query(ctx context.Context, sql string, row func([]string)) (int64, string, error) {
	page, err := e.ask(ctx, http.MethodPost, e.base.JoinPath("v1/statement").String(), sql)
	id := page.ID
	for err == nil {
		if page.Error != nil {
			return page.Stats.PhysicalInputBytes, id, &sqlError{fmt.Sprintf("Trino's query %s: %s: %s", id, page.Error.ErrorName, page.Error.Message)}
		}
		for _, r := range page.Data {
			values := make([]string, len(r))
			for i, v := range r {
				if v != nil {
					values[i] = fmt.Sprint(v)
				}
			}
			row(values)
		}
		if page.NextURI == "" {
			return page.Stats.PhysicalInputBytes, id, nil
		}
		next, parseErr := url.Parse(page.NextURI)
		if parseErr != nil || next.Host != e.base.Host || next.Scheme != e.base.Scheme {
			return 0, id, &sqlError{"Trino names another server for the next part of its answer"} // it would get the password
		}
		if page, err = e.ask(ctx, http.MethodGet, page.NextURI, ""); err != nil {
			stop, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			_, _ = e.ask(stop, http.MethodDelete, next.String(), "") // the run says already why it ended
			cancel()
		}
	}
	return 0, id, err
}

// ask sends one request.
func (e *trinoEngine) ask(ctx context.Context, method, address, body string) (page trinoPage, err error) {
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		return page, err
	}
	req.Header.Set("X-Trino-User", e.user)
	req.Header.Set("X-Trino-Source", "kms-baseline verify")
	if e.password != "" && e.base.Scheme == "https" {
		req.SetBasicAuth(e.user, e.password)
	}
	resp, err := e.client.Do(req)
	if err != nil {
		return page, err
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(io.LimitReader(resp.Body, maxTrinoPage))
	switch {
	case err != nil:
		return page, err
	case resp.StatusCode == http.StatusNoContent:
		return page, nil
	case resp.StatusCode != http.StatusOK:
		return page, &sqlError{fmt.Sprintf("Trino answers %s: %s", resp.Status, bytes.TrimSpace(content[:min(len(content), 300)]))}
	}
	d := json.NewDecoder(bytes.NewReader(content))
	d.UseNumber()
	return page, d.Decode(&page)
}
