package cli

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"
)

// maxAtlantis bounds an atlantis.yaml.
const maxAtlantis = 4 << 20

// atlantisFile is the part of an atlantis.yaml that says what there is.
type atlantisFile struct {
	Version  int               `yaml:"version"`
	Projects []atlantisProject `yaml:"projects"`
}

type atlantisProject struct {
	Name      string   `yaml:"name"`
	Dir       string   `yaml:"dir"`
	Workspace string   `yaml:"workspace"`
	Version   string   `yaml:"terraform_version"`
	Workflow  string   `yaml:"workflow"`
	DependsOn []string `yaml:"depends_on"`
	Group     int      `yaml:"execution_order_group"`
	Autoplan  struct {
		WhenModified []string `yaml:"when_modified"`
	} `yaml:"autoplan"`
	PlanRequires  []string `yaml:"plan_requirements"`
	ApplyRequires []string `yaml:"apply_requirements"`
}

// importedTarget is a target as it is written to trueup.yaml.
type importedTarget struct {
	Name        string         `yaml:"name"`
	Environment string         `yaml:"environment"`
	Path        string         `yaml:"path"`
	Inputs      []string       `yaml:"inputs,omitempty"`
	DependsOn   []string       `yaml:"dependsOn,omitempty"`
	Spec        map[string]any `yaml:"spec,omitempty"`
}

func (a *app) importAtlantisCommand() *cobra.Command {
	var environment, out string
	cmd := &cobra.Command{Use: "atlantis [FILE]", Short: "Write targets for the projects of an atlantis.yaml", Args: cobra.MaximumNArgs(1),
		Long: "Read an atlantis.yaml and write a trueup.yaml with one target for each project.\n" +
			"What has no counterpart in a target (workflows, requirements) is said: it belongs\n" +
			"into the operator's policies. Nothing is connected to.",
		Example: "  trueup import atlantis --environment aws-prod\n  trueup import atlantis infra/atlantis.yaml --environment aws-prod --out infra/trueup.yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			file := "atlantis.yaml"
			if len(args) == 1 {
				file = args[0]
			}
			if environment == "" {
				return errors.New("name the environment of the targets with --environment")
			}
			body, err := readAtMost(file, maxAtlantis)
			if err != nil {
				return err
			}
			text, notes, err := fromAtlantis(file, body, environment)
			if err != nil {
				return err
			}
			for _, n := range notes {
				if _, err := fmt.Fprintln(cmd.ErrOrStderr(), n); err != nil {
					return err
				}
			}
			if out == "" {
				_, err = cmd.OutOrStdout().Write(text)
				return err
			}
			f, err := os.OpenFile(out, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
			if err != nil {
				return err
			}
			_, err = f.Write(text)
			return errors.Join(err, f.Close())
		}}
	cmd.Flags().StringVar(&environment, "environment", "", "environment of the targets")
	cmd.Flags().StringVar(&out, "out", "", "file to write, which must not be there (default: standard output)")
	return cmd
}

func readAtMost(file string, limit int64) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	body, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(body)) > limit {
		err = fmt.Errorf("%s has more than %d bytes", file, limit)
	}
	return body, err
}

var notInNames = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// fromAtlantis turns projects into targets.
func fromAtlantis(file string, body []byte, environment string) ([]byte, []string, error) {
	var in atlantisFile
	if err := yaml.Unmarshal(body, &in); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	if len(in.Projects) == 0 {
		return nil, nil, fmt.Errorf("%s: it lists no projects; Atlantis finds them itself then: list the root modules in a trueup.yaml", file)
	}
	var targets []importedTarget
	var notes []string
	note := func(name, format string, args ...any) {
		notes = append(notes, name+": "+fmt.Sprintf(format, args...))
	}
	seen := map[string]bool{}
	for i, p := range in.Projects {
		dir := path.Clean(p.Dir)
		if p.Dir == "" || path.IsAbs(dir) || dir == ".." || strings.HasPrefix(dir, "../") {
			return nil, nil, fmt.Errorf("%s: projects[%d].dir: %q is no directory of the repository", file, i, p.Dir)
		}
		t := importedTarget{Name: atlantisName(p, dir), Environment: environment, Path: dir, Spec: map[string]any{}}
		if seen[t.Name] {
			return nil, nil, fmt.Errorf("%s: projects[%d]: a second project would be called %q: give it a name", file, i, t.Name)
		}
		seen[t.Name] = true
		if p.Workspace != "" && p.Workspace != "default" {
			t.Spec["workspace"] = p.Workspace
		}
		if p.Version != "" {
			t.Spec["version"] = strings.TrimPrefix(p.Version, "v")
		}
		for _, d := range p.DependsOn {
			t.DependsOn = append(t.DependsOn, notInNames.ReplaceAllString(d, "-"))
		}
		for _, g := range p.Autoplan.WhenModified {
			if full := path.Join(dir, strings.TrimPrefix(g, "!")); strings.HasPrefix(g, "../") && !strings.HasPrefix(full, "../") {
				t.Inputs = append(t.Inputs, full)
			} else if strings.HasPrefix(g, "!") {
				note(t.Name, "when_modified %q leaves files out, which inputs can't", g)
			}
		}
		if p.Workflow != "" {
			note(t.Name, "the workflow %q has no counterpart: variable files belong under spec.varFiles, commands into the operator's checks", p.Workflow)
		}
		if len(p.PlanRequires)+len(p.ApplyRequires) > 0 {
			note(t.Name, "requirements (%s) belong into the environment's policy", strings.Join(append(p.PlanRequires, p.ApplyRequires...), ", "))
		}
		if p.Group != 0 {
			note(t.Name, "execution_order_group %d: say with dependsOn which targets come first", p.Group)
		}
		targets = append(targets, t)
	}
	text, err := yaml.Marshal(struct {
		Version int              `yaml:"version"`
		Targets []importedTarget `yaml:"targets"`
	}{1, targets})
	return text, notes, err
}

func atlantisName(p atlantisProject, dir string) string {
	name := p.Name
	if name == "" {
		name = strings.Trim(dir, "./")
		if p.Workspace != "" && p.Workspace != "default" {
			name += "-" + p.Workspace
		}
	}
	return cmp.Or(strings.Trim(notInNames.ReplaceAllString(name, "-"), "-."), "root")
}
