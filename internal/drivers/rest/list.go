package rest

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
)

const (
	maxPages   = 10_000
	maxObjects = 200_000
)

var nextLink = regexp.MustCompile(`<([^>]*)>\s*;[^,]*\brel="?next"?`)

// list reads all objects of a type. A list that is not whole is an error.
func (c *client) list(ctx context.Context, l *List) ([]any, error) {
	query := url.Values{}
	for k, v := range l.Query {
		query.Set(k, v)
	}
	page := 1
	if l.First != nil {
		page = *l.First
	}
	if l.Paging == ByPage {
		query.Set(l.Param, strconv.Itoa(page))
	}
	var all []any
	target, total := c.address(l.Path, query), int64(-1)
	seen := map[string]bool{}
	for range maxPages {
		if seen[target] {
			return nil, fmt.Errorf("%s: the pages go round in a circle", l.Path)
		}
		seen[target] = true
		a, err := c.call(ctx, http.MethodGet, target, nil, nil)
		if err != nil {
			return nil, err
		}
		items, ok := lookup(a.doc, l.Items)
		list, isList := items.([]any)
		if !ok || !isList {
			return nil, fmt.Errorf("%s: the answer has no list at %q: it is not taken for an empty one", l.Path, l.Items)
		}
		if all = append(all, list...); len(all) > maxObjects {
			return nil, fmt.Errorf("%s: there are more than %d objects", l.Path, maxObjects)
		}
		if total, err = l.total(a); err != nil {
			return nil, err
		}
		next, err := c.next(l, a, query, len(list), &page)
		if err != nil {
			return nil, err
		}
		if next == "" {
			if total >= 0 && total != int64(len(all)) {
				return nil, fmt.Errorf("%s: %d objects were listed, the API counts %d: the list is not whole", l.Path, len(all), total)
			}
			return all, nil
		}
		target = next
	}
	return nil, fmt.Errorf("%s: there are more than %d pages", l.Path, maxPages)
}

func (c *client) address(path string, query url.Values) string {
	if len(query) == 0 {
		return c.base + path
	}
	return c.base + path + "?" + query.Encode()
}

// next gives the next page's address, "" for the end.
func (c *client) next(l *List, a *answer, query url.Values, got int, page *int) (string, error) {
	switch l.Paging {
	case ByLink:
		for _, h := range a.header.Values("Link") {
			if m := nextLink.FindStringSubmatch(h); m != nil {
				base, err := url.Parse(c.base)
				if err != nil {
					return "", err
				}
				u, err := base.Parse(m[1])
				if err != nil || !c.sameHost(u.String()) {
					return "", fmt.Errorf("%s: the next page is said to be on another host", l.Path)
				}
				return u.String(), nil
			}
		}
	case ByPage:
		if got == 0 {
			return "", nil
		}
		*page++
		query.Set(l.Param, strconv.Itoa(*page))
		return c.address(l.Path, query), nil
	case ByCursor:
		v, _ := lookup(a.doc, l.Next) // the last answer has none
		if s, ok := word(v); ok {
			query.Set(l.Param, s)
			return c.address(l.Path, query), nil
		}
	}
	return "", nil
}

// total gives how many objects there are by the API's own count, -1 for
// unknown.
func (l *List) total(a *answer) (int64, error) {
	if l.Total == "" {
		return -1, nil
	}
	text := a.header.Get(l.Total)
	if l.Total[0] == '/' {
		v, _ := lookup(a.doc, l.Total)
		text, _ = word(v)
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%s: the answer has no number at %q", l.Path, l.Total)
	}
	return n, nil
}
