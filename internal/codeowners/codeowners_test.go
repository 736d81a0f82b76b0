package codeowners

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// owners gives the owners of a path in one line: groups in their order.
func owners(f *File, path string) string {
	var out []string
	for _, g := range f.Owners(path) {
		var names []string
		for _, o := range g.Owners {
			names = append(names, o.String())
		}
		text := strings.Join(names, " ")
		if g.Section != "" {
			text = g.Section + ": " + text
		}
		if g.Count > 1 {
			text += fmt.Sprintf(" x%d", g.Count)
		}
		if g.Optional {
			text += " optional"
		}
		out = append(out, text)
	}
	return strings.Join(out, " | ")
}

func parse(t *testing.T, d Dialect, text string) *File {
	t.Helper()
	f, mistakes := Parse(d, []byte(text))
	if f == nil {
		t.Fatal(mistakes)
	}
	return f
}

func check(t *testing.T, f *File, want map[string]string) {
	t.Helper()
	for path, w := range want {
		if got := owners(f, path); got != w {
			t.Errorf("%s: %q, want %q", path, got, w)
		}
	}
}

// TestGitHub goes through what GitHub's page on code owners says of each of
// its examples.
func TestGitHub(t *testing.T) {
	check(t, parse(t, GitHub, `# comment
*       @global-owner1 @global-owner2
*.js    @js-owner #This is an inline comment.
*.go docs@example.com
*.txt @octo-org/octocats
/build/logs/ @doctocat
docs/* docs2@example.com
apps/ @octocat
`), map[string]string{
		"README":                            "@global-owner1 @global-owner2",
		"a/b/c.js":                          "@js-owner",
		"main.go":                           "docs@example.com",
		"x/y.txt":                           "@octo-org/octocats",
		"build/logs/a/b":                    "@doctocat",
		"sub/build/logs/a":                  "@global-owner1 @global-owner2",
		"docs/getting-started.md":           "docs2@example.com",
		"docs/build-app/troubleshooting.md": "@global-owner1 @global-owner2",
		"apps/a":                            "@octocat",
		"deep/apps/a/b":                     "@octocat",
		"apps":                              "@global-owner1 @global-owner2",
	})
	check(t, parse(t, GitHub, "/docs/ @doctocat\n/scripts/ @doctocat @octocat\n**/logs @octocat\n"), map[string]string{
		"docs/a/b": "@doctocat", "sub/docs/a": "", "scripts/x": "@doctocat @octocat",
		"build/logs/a": "@octocat", "scripts/logs/a": "@octocat", "deeply/nested/logs/x/y": "@octocat", "logs": "@octocat", "logsx": "",
	})
	check(t, parse(t, GitHub, "/apps/ @octocat\n/apps/github\n"), map[string]string{"apps/x": "@octocat", "apps/github/a": "", "apps/github": ""})
	check(t, parse(t, GitHub, "/apps/ @octocat\n/apps/github @doctocat\n"), map[string]string{"apps/github/a": "@doctocat"})
	check(t, parse(t, GitHub, `with\ space/ @a`+"\na?c @b\nx/**/y @c\nz/** @d\n"), map[string]string{
		"with space/f": "@a", "abc": "@b", "a/c": "", "x/y": "@c", "x/1/2/y": "@c", "sub/x/y": "", "z/1/2": "@d", "z": "",
	})
}

// TestGitLab goes through the examples of GitLab's reference.
func TestGitLab(t *testing.T) {
	check(t, parse(t, GitLab, `* @default-codeowner
* @multiple @code @owners
*.rb @ruby-owner
\#file_with_pound.rb @owner-file-with-pound
LICENSE @legal janedoe@gitlab.com
README @group @group/with-nested/subgroup
/docs/ @all-docs
/docs/* @root-docs
/docs/**/*.md @markdown
lib/ @lib-owner
/config/ @@maintainers
path\ with\ spaces/ @space-owner
`), map[string]string{
		"a/b": "@multiple @code @owners", "x/y.rb": "@ruby-owner", "#file_with_pound.rb": "@owner-file-with-pound",
		"sub/LICENSE": "@legal janedoe@gitlab.com", "README": "@group @group/with-nested/subgroup",
		"docs/a/b.txt": "@all-docs", "docs/a.txt": "@root-docs", "docs/x/y/z.md": "@markdown", "docs/a.md": "@markdown",
		"src/lib/x": "@lib-owner", "config/db.yml": "@@maintainer", "sub/config/x": "@multiple @code @owners",
		"path with spaces/f": "@space-owner", ".gitignore": "@multiple @code @owners",
	})
	check(t, parse(t, GitLab, `* @general-approvers
[Documentation] @docs-team
docs/
README.md
*.txt

[Database] @database-team
model/db/
config/db/database-setup.md @docs-team
`), map[string]string{
		"docs/a":                      "@general-approvers | Documentation: @docs-team",
		"model/db/x.txt":              "@general-approvers | Documentation: @docs-team | Database: @database-team",
		"config/db/database-setup.md": "@general-approvers | Database: @docs-team",
		"src/main.go":                 "@general-approvers",
	})
	check(t, parse(t, GitLab, "[Documentation][2] @docs-team\ndocs/\n^[Database] @database-team\nmodel/db/\n[documentation]\nguide/ @guides\n"), map[string]string{
		"docs/a": "Documentation: @docs-team x2", "model/db/a": "Database: @database-team optional", "guide/a": "Documentation: @guides x2",
	})
	// Exclusions hold for the section, whatever stands behind them.
	check(t, parse(t, GitLab, "* @default\n!package-lock.json\n[Ruby] @ruby\n*.rb\n!/config/**/*.rb\n/config/routes.rb @ops\n"), map[string]string{
		"package-lock.json": "", "a.rb": "@default | Ruby: @ruby", "config/a.rb": "@default", "config/routes.rb": "@default",
	})
	check(t, parse(t, GitLab, "docs @one\nx/[ab]*.c @two\n/x/[^x].h @three\n"), map[string]string{"docs/a": "", "sub/docs": "@one", "x/ac.c": "@two", "x/c.c": "", "x/y.h": "@three", "x/x.h": ""})
}

// TestGitea goes through the example of Gitea's page.
func TestGitea(t *testing.T) {
	check(t, parse(t, Gitea, `.*\\.go @user1 @user2 # This is comment

# Comment too
frontend/src/.*\\.js @org1/team1 @org1/team2 @user3
!frontend/src/.* @org1/team3 @user5
docs/(aws|google|azure)/[^/]*\\.(md|txt) @user8 @org1/team4
!/assets/.*\\.(bin|exe|msi) @user9
`), map[string]string{
		"a/main.go":           "@user1 @user2 @org1/team3 @user5 @user9",
		"maingo":              "@org1/team3 @user5 @user9",
		"frontend/src/x/y.js": "@org1/team1 @org1/team2 @user3 @user9",
		"docs/aws/x.md":       "@org1/team3 @user5 @user8 @org1/team4 @user9",
		"docs/other/x.md":     "@org1/team3 @user5 @user9",
		"assets/a/b.exe":      "@org1/team3 @user5",
	})
	check(t, parse(t, Gitea, `dir/with\#hashtag @user1`+"\n"+`path\ with\ space user2`+"\n"+`path/with\\\\backslash @user3`+"\n"), map[string]string{
		"dir/with#hashtag": "@user1", "path with space": "@user2", `path/with\backslash`: "@user3",
	})
}

func TestMistakes(t *testing.T) {
	for _, c := range []struct {
		d          Dialect
		text, want string
	}{
		{GitHub, "a @b\n!x @y", "line 2: the pattern \"!x\": GitHub knows no exclusions"},
		{GitHub, "[ab] @y", "character ranges"},
		{GitHub, "* bob", "\"bob\" is no owner"},
		{GitHub, "* @", "is no owner"},
		{GitHub, "* @a/b/c", "is no owner"},
		{GitHub, "* @@maintainer", "is no owner"},
		{GitHub, "a//b @c", "two slashes"},
		{GitHub, `x\`, "a backslash ends the line"},
		{GitHub, "\x00 @a", "not text"},
		{GitHub, "\xff @a", "not text"},
		{GitHub, strings.Repeat("a", 5000) + " @b", "the limit is 4096"},
		{GitHub, strings.Repeat("#", MaxBytes+1), "the limit is 1048576"},
		{GitHub, strings.Repeat("a @b\n", maxRules+1), "more than 10000 entries"},
		{GitLab, "[] @a", "expected [Section name]"},
		{GitLab, "[a][0]", "one approval at least"},
		{GitLab, "[a", "expected [Section name]"},
		{GitLab, "* @a # comment", "GitLab knows no comment behind an entry"},
		{GitLab, "!x @a", "an exclusion has no owners"},
		{GitLab, "a[b @a", "has no end"},
		{Gitea, "(unclosed @a", "missing closing"},
		{Gitea, "lonely", "has no owners"},
		{Gitea, "a{1001} @a", "invalid repeat count"},
		{"bitbucket", "* @a", "is not known"},
	} {
		f, mistakes := Parse(c.d, []byte(c.text))
		if got := fmt.Sprint(mistakes); f != nil || !strings.Contains(got, c.want) {
			t.Errorf("%s %.40q: %s", c.d, c.text, got)
		}
	}
}

// segments are what random patterns and paths are made of.
var segments = []string{"a", "b", "docs", "x.js", "*", "**", "*.js", "d?cs", "a.b"}

func randomPath(r *rand.Rand) string {
	var parts []string
	for range 1 + r.IntN(4) {
		parts = append(parts, []string{"a", "b", "docs", "x.js", "a.b", "dxcs"}[r.IntN(6)])
	}
	return strings.Join(parts, "/")
}

func randomPattern(r *rand.Rand) string {
	var parts []string
	for range 1 + r.IntN(3) {
		parts = append(parts, segments[r.IntN(len(segments))])
	}
	p := strings.Join(parts, "/")
	if r.IntN(3) == 0 {
		p = "/" + p
	}
	if r.IntN(3) == 0 {
		p += "/"
	}
	return p
}

// TestLastEntryDecides: with one more entry at the end, every path has its
// owners by that entry if it matches, else those it had.
func TestLastEntryDecides(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 11))
	for _, d := range []Dialect{GitHub, GitLab} {
		for range 3000 {
			text := ""
			for i := range r.IntN(5) {
				text += fmt.Sprintf("%s @o%d\n", randomPattern(r), i)
			}
			last := randomPattern(r)
			before, with, alone := parse(t, d, text), parse(t, d, text+last+" @last\n"), parse(t, d, last+" @last\n")
			path := randomPath(r)
			want := owners(before, path)
			if owners(alone, path) != "" {
				want = "@last"
			}
			if got := owners(with, path); got != want {
				t.Fatalf("%s\n%s%s @last\n%s: %q, want %q", d, text, last, path, got, want)
			}
		}
	}
}

// TestPatternsAgreeWithWalking compares GitHub's patterns with a matcher that
// walks over the segments.
func TestPatternsAgreeWithWalking(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 5))
	for range 20_000 {
		pattern, path := randomPattern(r), randomPath(r)
		f, mistakes := Parse(GitHub, []byte(pattern+" @o\n"))
		if f == nil {
			t.Fatal(pattern, mistakes)
		}
		if got, want := owners(f, path) != "", walk(pattern, path); got != want {
			t.Fatalf("%s on %s: %v, want %v", pattern, path, got, want)
		}
	}
}

func walk(pattern, path string) bool {
	if pattern == "*" || pattern == "**" || pattern == "/**" {
		return true
	}
	body := strings.TrimSuffix(pattern, "/")
	isDir := body != pattern
	rooted := strings.Contains(body, "/")
	want := strings.Split(strings.TrimPrefix(body, "/"), "/")
	have := strings.Split(path, "/")
	starts := len(have)
	if rooted {
		starts = 1
	}
	for i := range starts {
		if !isDir && len(want) > 1 && want[len(want)-1] == "*" && !exact(want, have[i:]) {
			continue
		}
		if walkFrom(want, have[i:], isDir) {
			return true
		}
	}
	return false
}

func walkFrom(want, have []string, isDir bool) bool {
	if len(want) == 0 {
		// A directory needs something in it, a file may be a directory.
		return !isDir || len(have) > 0
	}
	if want[0] == "**" {
		if len(want) == 1 {
			return len(have) > 0
		}
		for i := 0; i <= len(have); i++ {
			if walkFrom(want[1:], have[i:], isDir) {
				return true
			}
		}
		return false
	}
	if len(have) == 0 || !walkName(want[0], have[0]) {
		return false
	}
	return walkFrom(want[1:], have[1:], isDir)
}

// exact tells whether a star at the end can stand for the last name.
func exact(want, have []string) bool {
	if len(want) == 0 || len(have) == 0 {
		return len(want) == len(have)
	}
	if want[0] == "**" {
		for i := 0; i <= len(have); i++ {
			if exact(want[1:], have[i:]) {
				return true
			}
		}
		return false
	}
	return walkName(want[0], have[0]) && exact(want[1:], have[1:])
}

func walkName(pattern, name string) bool {
	if pattern == "" {
		return name == ""
	}
	if pattern[0] == '*' {
		return walkName(pattern[1:], name) || name != "" && walkName(pattern, name[1:])
	}
	return name != "" && (pattern[0] == '?' || pattern[0] == name[0]) && walkName(pattern[1:], name[1:])
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"* @a\n", "[S][2] @a\nx/\n!y\n", ".*\\\\.go @a", "a\\ b @c", "^[x]", "[a-z]* @b"} {
		f.Add(s, "a/b.go")
	}
	f.Fuzz(func(t *testing.T, text, path string) {
		for _, d := range []Dialect{GitHub, GitLab, Gitea} {
			file, mistakes := Parse(d, []byte(text))
			if (file == nil) != (len(mistakes) > 0) {
				t.Fatal("a file and mistakes, or neither")
			}
			for _, g := range file.Owners(path) {
				if len(g.Owners) == 0 || g.Count < 1 {
					t.Fatalf("%+v", g)
				}
			}
		}
	})
}
