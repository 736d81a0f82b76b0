package gitea

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Account is somebody with an account and a token with all rights of it.
type Account struct {
	Name, Password, Token string

	server *Server
}

// StatusError is an answer of Gitea's API that is no success.
type StatusError struct {
	Status  int
	Message string
}

// Error gives Gitea's words.
func (e *StatusError) Error() string { return fmt.Sprintf("%d: %s", e.Status, e.Message) }

// API calls Gitea's API as the account; path is what follows /api/v1.
func (a *Account) API(method, path string, body, into any) error {
	return a.call(method, "/api/v1"+path, body, into, func(r *http.Request) { r.Header.Set("Authorization", "token "+a.Token) })
}

func (a *Account) call(method, path string, body, into any, auth func(*http.Request)) error {
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		in = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, a.server.URL+path, in)
	if err != nil {
		return err
	}
	auth(req)
	req.Header.Set("Content-Type", "application/json")
	client := http.Client{Timeout: time.Minute}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s as %s: %w", method, path, a.Name, &StatusError{resp.StatusCode, strings.TrimSpace(string(b))})
	}
	if into != nil {
		return json.Unmarshal(b, into)
	}
	return nil
}

// must fails the test on an error.
func (s *Server) must(err error) {
	if err == nil {
		return
	}
	if s.t != nil {
		s.t.Helper()
		s.t.Fatalf("gitea: %v", err)
	}
}

// NewToken makes another token for the account with the scopes given, such as
// "read:repository" or "write:issue".
func (a *Account) NewToken(name string, scopes ...string) string {
	var token struct{ SHA1 string }
	a.server.must(a.call("POST", "/api/v1/users/"+a.Name+"/tokens", map[string]any{"name": name, "scopes": scopes}, &token,
		func(r *http.Request) { r.SetBasicAuth(a.Name, a.Password) }))
	return token.SHA1
}

// User makes an account.
func (s *Server) User(name string) *Account {
	s.must(s.Admin.API("POST", "/admin/users", map[string]any{"username": name, "password": password, "email": name + "@example.test", "must_change_password": false}, nil))
	a := &Account{Name: name, Password: password, server: s}
	a.Token = a.NewToken("t", "all")
	return a
}

// Org makes an organisation that the administrator owns.
func (s *Server) Org(name string) {
	s.must(s.Admin.API("POST", "/orgs", map[string]any{"username": name}, nil))
}

// Team makes a team of an organisation with a right (read, write, admin) to
// all its repositories, and puts people into it.
func (s *Server) Team(org, name, right string, members ...*Account) {
	var team struct{ ID int }
	units := map[string]string{}
	for _, u := range []string{"repo.code", "repo.issues", "repo.pulls", "repo.releases"} {
		units[u] = right
	}
	if right == "admin" {
		units = nil
	}
	s.must(s.Admin.API("POST", "/orgs/"+org+"/teams", map[string]any{"name": name, "permission": right, "includes_all_repositories": true, "units_map": units}, &team))
	for _, m := range members {
		s.must(s.Admin.API("PUT", fmt.Sprintf("/teams/%d/members/%s", team.ID, m.Name), nil, nil))
	}
}

// Repo makes a repository "owner/name" with a first commit on main that holds
// the files, and gives "owner/name" back. The owner is an organisation or the
// administrator.
func (s *Server) Repo(full string, files map[string]string) string {
	owner, name, _ := strings.Cut(full, "/")
	path := "/orgs/" + owner + "/repos"
	if owner == s.Admin.Name {
		path = "/user/repos"
	}
	s.must(s.Admin.API("POST", path, map[string]any{"name": name, "auto_init": true, "default_branch": "main"}, nil))
	if len(files) > 0 {
		s.Admin.Commit(full, "main", "", "First files", files)
	}
	return full
}

// Collaborate gives an account a right (read, write, admin) to a repository.
func (s *Server) Collaborate(repo string, a *Account, right string) {
	s.must(s.Admin.API("PUT", "/repos/"+repo+"/collaborators/"+a.Name, map[string]any{"permission": right}, nil))
}

// Protection protects a branch.
type Protection struct {
	Branch    string
	Statuses  []string // contexts that must be green
	Approvals int
}

// Protect protects a branch; who may push otherwise still may.
func (s *Server) Protect(repo string, p Protection) {
	s.must(s.Admin.API("POST", "/repos/"+repo+"/branch_protections", map[string]any{"rule_name": p.Branch, "enable_push": true,
		"enable_status_check": len(p.Statuses) > 0, "status_check_contexts": p.Statuses, "required_approvals": p.Approvals,
		"dismiss_stale_approvals": true}, nil))
}

// Commit writes files onto a branch in one commit, and gives its id. With
// onto a new branch of that name is made from branch. The empty text deletes a
// file.
func (a *Account) Commit(repo, branch, onto, msg string, files map[string]string) string {
	var list []map[string]any
	for _, path := range slices.Sorted(maps.Keys(files)) {
		var old struct{ SHA string }
		err := a.API("GET", "/repos/"+repo+"/contents/"+path+"?ref="+url.QueryEscape(branch), nil, &old)
		var status *StatusError
		if err != nil && !(errors.As(err, &status) && status.Status == http.StatusNotFound) {
			a.server.must(err)
		}
		f := map[string]any{"path": path, "operation": "create", "content": base64.StdEncoding.EncodeToString([]byte(files[path]))}
		switch {
		case old.SHA != "" && files[path] == "":
			f = map[string]any{"path": path, "operation": "delete", "sha": old.SHA}
		case old.SHA != "":
			f["operation"], f["sha"] = "update", old.SHA
		}
		list = append(list, f)
	}
	body := map[string]any{"branch": branch, "message": msg, "files": list}
	if onto != "" {
		body["new_branch"] = onto
	}
	var done struct{ Commit struct{ SHA string } }
	a.server.must(a.API("POST", "/repos/"+repo+"/contents", body, &done))
	return done.Commit.SHA
}

// Fork forks a repository to the account and gives the fork's "owner/name".
func (a *Account) Fork(repo string) string {
	var fork struct {
		FullName string `json:"full_name"`
	}
	a.server.must(a.API("POST", "/repos/"+repo+"/forks", map[string]any{}, &fork))
	return fork.FullName
}

// Pull opens a pull request and gives its number. The head is a branch, or
// "owner:branch" of a fork.
func (a *Account) Pull(repo, head, base, title string) int {
	var pr struct{ Number int }
	a.server.must(a.API("POST", "/repos/"+repo+"/pulls", map[string]any{"head": head, "base": base, "title": title}, &pr))
	return pr.Number
}

// Review reviews a pull request: APPROVED, REQUEST_CHANGES or COMMENT.
func (a *Account) Review(repo string, number int, event, body string) {
	a.server.must(a.API("POST", fmt.Sprintf("/repos/%s/pulls/%d/reviews", repo, number), map[string]any{"event": event, "body": body}, nil))
}

// Comment comments a pull request and gives the comment's id.
func (a *Account) Comment(repo string, number int, body string) int64 {
	var c struct{ ID int64 }
	a.server.must(a.API("POST", fmt.Sprintf("/repos/%s/issues/%d/comments", repo, number), map[string]any{"body": body}, &c))
	return c.ID
}

// Merge merges a pull request. Gitea works out first whether it can be merged
// and says "try again later" until then; that is waited for. Every other
// refusal is the error.
func (a *Account) Merge(repo string, number int) error {
	path := fmt.Sprintf("/repos/%s/pulls/%d/merge", repo, number)
	for end := time.Now().Add(time.Minute); ; {
		err := a.API("POST", path, map[string]any{"Do": "merge"}, nil)
		var status *StatusError
		if err == nil || !errors.As(err, &status) || !strings.Contains(strings.ToLower(status.Message), "try again later") || time.Now().After(end) {
			return err
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// CloneURL is the address of a repository for git, with the account's token.
func (a *Account) CloneURL(repo string) string {
	return strings.Replace(a.server.URL, "://", "://"+url.UserPassword(a.Name, a.Token).String()+"@", 1) + "/" + repo + ".git"
}
