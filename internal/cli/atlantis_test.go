package cli

import (
	"strings"
	"testing"

	"trueup.dev/trueup/internal/config"
)

func TestFromAtlantis(t *testing.T) {
	text, notes, err := fromAtlantis("atlantis.yaml", []byte(`version: 3
automerge: true
projects:
  - name: net
    dir: live/net
    terraform_version: v1.5.7
    autoplan: {when_modified: ["*.tf", "../../modules/**/*.tf", "!x.tf"]}
    apply_requirements: [approved]
  - dir: live/db
    workspace: prod
    workflow: custom
    depends_on: [net]
`), "aws")
	if err != nil {
		t.Fatal(err)
	}
	m, diags := config.ParseManifest("trueup.yaml", text)
	if err := diags.Err(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if len(m.Targets) != 2 {
		t.Fatalf("%s", text)
	}
	net, db := m.Targets[0], m.Targets[1]
	if net.Name != "net" || net.Path != "live/net" || net.Environment != "aws" || len(net.Inputs) != 1 || net.Inputs[0] != "modules/**/*.tf" {
		t.Errorf("%+v", net)
	}
	if db.Name != "live-db-prod" || len(db.DependsOn) != 1 || db.DependsOn[0] != "net" || !strings.Contains(string(text), "workspace: prod") {
		t.Errorf("%+v\n%s", db, text)
	}
	if len(notes) != 3 {
		t.Errorf("%q", notes)
	}
	for _, bad := range []string{"projects: []", "projects: [{dir: ../x}]", "projects: [{dir: a}, {dir: a}]", "{"} {
		if _, _, err := fromAtlantis("f", []byte(bad), "e"); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}
