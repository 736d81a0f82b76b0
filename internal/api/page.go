package api

import (
	"net/http"
	"strconv"
	"time"

	"trueup.dev/trueup/internal/store"
)

// maxPage is the most records one answer has.
const maxPage = 1000

// page reads limit and after.
func page(r *http.Request) (store.Page, error) {
	p := store.Page{After: r.URL.Query().Get("after"), Limit: 100}
	if text := r.URL.Query().Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxPage {
			return p, fault(http.StatusBadRequest, "invalid", "limit is a number from 1 to 1000")
		}
		p.Limit = n
	}
	return p, nil
}

// timeParam reads a time in RFC 3339 form; an absent one is zero.
func timeParam(r *http.Request, name string) (time.Time, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, fault(http.StatusBadRequest, "invalid", name+" is a time like 2026-01-31T15:04:05Z")
	}
	return t.UTC(), nil
}

// number reads a whole number that is not negative; an absent one is 0.
func number(r *http.Request, name string) (int64, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, fault(http.StatusBadRequest, "invalid", name+" is a number")
	}
	return n, nil
}
