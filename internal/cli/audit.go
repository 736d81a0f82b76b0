package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"trueup.dev/trueup/internal/api"
	"trueup.dev/trueup/internal/audit"
	"trueup.dev/trueup/internal/render"
	"trueup.dev/trueup/internal/store"
)

const auditLong = `Export who proposed, approved and merged what, and what was applied when, with
links. -o json is the record itself, signed, and can be checked with trueup
audit verify; -o csv is for spreadsheets, the table for people. Times are those
of trueup history, or ages: 12h, 30d.

A running server is asked; without one the store is opened directly.`

func (a *app) auditCommand() *cobra.Command {
	var f auditFlags
	cmd := &cobra.Command{Use: "audit", Short: "Export and check the record of what happened", Args: cobra.NoArgs, Long: auditLong,
		Example: "  trueup audit --since 30d\n  trueup audit --environment dns-public -o csv > audit.csv\n  trueup audit --since 2026-01-01 --until 2026-03-31 -o json > q1.json\n" +
			"  trueup audit --actor user:alice\n  trueup audit verify\n  trueup audit verify q1.json --key trueup-audit-ed25519:…",
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if a.format == "csv" {
				return nil
			}
			return a.checkFormat()
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return a.audit(cmd, f) }}
	cmd.Flags().StringVar(&f.since, "since", "", "from this time on, or this age")
	cmd.Flags().StringVar(&f.until, "until", "", "up to this time")
	cmd.Flags().StringVar(&f.target, "target", "", "only this target")
	cmd.Flags().StringVar(&f.environment, "environment", "", "only this environment")
	cmd.Flags().StringVar(&f.actor, "actor", "", "only what somebody caused, proposed, approved or merged: user:NAME or a login")
	cmd.AddCommand(a.auditVerifyCommand(), a.auditKeyCommand())
	return cmd
}

type auditFlags struct{ since, until, target, environment, actor string }

var age = regexp.MustCompile(`^(\d{1,6})([hdw])$`)

// parseSince reads a time, or an age like 30d.
func parseSince(text string, now time.Time) (time.Time, error) {
	if m := age.FindStringSubmatch(text); m != nil {
		n, err := strconv.Atoi(m[1])
		unit := map[string]time.Duration{"h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour}[m[2]]
		return now.Add(-time.Duration(n) * unit).UTC(), err
	}
	if t, err := time.Parse(time.DateOnly, text); err == nil {
		return t, nil // a date means its beginning here
	}
	t, err := parseTime(text)
	if err != nil {
		return t, fmt.Errorf("%w, or an age: 12h, 30d, 8w", err)
	}
	return t, nil
}

func (f auditFlags) filter() (audit.Filter, error) {
	out := audit.Filter{Target: f.target, Environment: f.environment, Actor: f.actor}
	var err error
	if out.Since, err = parseSince(f.since, time.Now()); err != nil {
		return out, err
	}
	out.Until, err = parseTime(f.until)
	return out, err
}

func (a *app) audit(cmd *cobra.Command, f auditFlags) error {
	filter, err := f.filter()
	if err != nil {
		return err
	}
	if a.format == "json" {
		return a.export(cmd, filter, cmd.OutOrStdout())
	}
	pr, pw := io.Pipe()
	go func() { pw.CloseWithError(a.export(cmd, filter, pw)) }()
	var records []audit.Record
	_, err = audit.Read(pr, nil, func(r audit.Record) error {
		records = append(records, r)
		return nil
	})
	if closed := pr.CloseWithError(err); err != nil {
		return errors.Join(err, closed)
	}
	switch a.format {
	case "csv":
		return audit.CSV(cmd.OutOrStdout(), audit.Rows(records))
	case "yaml":
		return a.print(cmd, api.List[audit.Record]{Items: notNil(records)})
	}
	var rows [][]string
	for _, r := range audit.Rows(records) {
		rows = append(rows, []string{strconv.FormatInt(r.Seq, 10), render.Time(r.At), r.Kind, dash(render.Line(r.Target)), cut(dash(render.Line(r.State)), 40),
			render.Line(r.Actor), render.Short(r.Commit), dash(r.Changes), cut(dash(render.Line(r.Who())), 80), dash(render.Line(r.RequestURL))})
	}
	return a.rows(cmd, "nothing is recorded of that", []string{"SEQ", "TIME", "KIND", "TARGET", "STATE", "BY", "COMMIT", "CHANGES", "WHO", "LINK"}, rows)
}

// export writes the record, as the server or, without one, the store has it.
func (a *app) export(cmd *cobra.Command, f audit.Filter, w io.Writer) error {
	q := url.Values{}
	for name, v := range map[string]string{"target": f.Target, "environment": f.Environment, "actor": f.Actor} {
		if v != "" {
			q.Set(name, v)
		}
	}
	for name, t := range map[string]time.Time{"since": f.Since, "until": f.Until} {
		if !t.IsZero() {
			q.Set(name, t.Format(time.RFC3339))
		}
	}
	return a.storeOrServer(cmd, func(c *api.Client) error { return c.Audit(cmd.Context(), q, w) },
		func(ctx context.Context, s store.Store) error { return audit.Export(ctx, w, s, f) })
}

// storeOrServer asks the server, or opens the store when there is none.
func (a *app) storeOrServer(cmd *cobra.Command, ask func(*api.Client) error, open func(context.Context, store.Store) error) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	defer c.Close()
	err = ask(c)
	if !errors.Is(err, api.ErrNoServer) || a.server != "" {
		return err
	}
	cfg, oerr := a.operator(cmd)
	if oerr != nil {
		return errors.Join(err, oerr)
	}
	st, err := openStore(cmd.Context(), cfg)
	if err != nil {
		return err
	}
	return errors.Join(open(cmd.Context(), st), st.Close())
}

const verifyLong = `Check that nothing in the record was changed, removed, added or moved past
trueup. Without a file the whole record of the server is checked, with the runs
and approvals that it tells of. With a file an export (trueup audit -o json) is
checked: against the key given, or the one that the server has now.

The first thing that is not what it was is named, and the exit code is 1.`

func (a *app) auditVerifyCommand() *cobra.Command {
	var key string
	cmd := &cobra.Command{Use: "verify [FILE]", Short: "Check that the record, or an export of it, is what it was", Args: cobra.MaximumNArgs(1), Long: verifyLong,
		Example: "  trueup audit verify\n  trueup audit verify q1.json\n  trueup audit verify q1.json --key trueup-audit-ed25519:…",
		RunE: func(cmd *cobra.Command, args []string) error {
			if a.format == "csv" {
				return errors.New("-o csv: use table, json or yaml")
			}
			if len(args) == 1 {
				return a.verifyExport(cmd, args[0], key)
			}
			return a.verifyRecord(cmd)
		}}
	cmd.Flags().StringVar(&key, "key", "", "the public key that must have signed a file, as trueup audit key prints it")
	return cmd
}

func (a *app) verifyRecord(cmd *cobra.Command) error {
	var report store.AuditReport
	err := a.storeOrServer(cmd, func(c *api.Client) (err error) {
		report, err = c.VerifyAudit(cmd.Context())
		return err
	}, func(ctx context.Context, s store.Store) (err error) {
		report, err = s.VerifyAudit(ctx)
		return err
	})
	if err != nil {
		return err
	}
	if !a.table() {
		if err := a.print(cmd, report); err != nil {
			return err
		}
		return brokenErr(report.Broken)
	}
	if err := a.sayBroken(cmd, report.Broken); err != nil {
		return err
	}
	w := cmd.OutOrStdout()
	fmt.Fprintf(w, "%s %d records, %d to %d; %d runs and %d approvals agree with them\n", style(cmd).Good("sound:"), report.Events, report.First, report.Last, report.Runs, report.Approvals)
	if report.Anchor.Seq > 0 {
		fmt.Fprintf(w, "begins behind record %d of %s; older ones were dropped\n", report.Anchor.Seq, render.Time(report.Anchor.At))
	}
	if report.Unchained > 0 {
		fmt.Fprintf(w, "%d records are from before records were chained\n", report.Unchained)
	}
	fmt.Fprintf(w, "head %d:%s\n", report.Last, report.Head)
	return nil
}

func (a *app) sayBroken(cmd *cobra.Command, b *store.AuditBreak) error {
	if b == nil {
		return nil
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s %s: %s\n", style(cmd).Bad("broken:"), render.Line(b.What), render.Line(b.Why))
	return errSilent
}

func brokenErr(b *store.AuditBreak) error {
	if b != nil {
		return errSilent
	}
	return nil
}

func (a *app) verifyExport(cmd *cobra.Command, path, given string) error {
	key, err := a.exportKey(cmd, given)
	if err != nil {
		return err
	}
	in := cmd.InOrStdin()
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	x, err := audit.Read(in, key, nil)
	if err != nil {
		return err
	}
	if !a.table() {
		if err := a.print(cmd, x); err != nil {
			return err
		}
		return brokenErr(x.Broken)
	}
	if err := a.sayBroken(cmd, x.Broken); err != nil {
		return err
	}
	gaps := "without a gap"
	if !x.Head.Gapless {
		gaps = "a selection"
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s %d records, %d to %d, %s, exported %s, signed by %s\n", style(cmd).Good("sound:"), x.Records, x.First, x.Last, gaps, render.Time(x.Head.At), key)
	return nil
}

// exportKey gives the key that a file is checked against. The one in the file
// itself proves nothing.
func (a *app) exportKey(cmd *cobra.Command, given string) (audit.Key, error) {
	if given == "" {
		var err error
		if given, err = a.readKey(cmd); err != nil {
			return nil, fmt.Errorf("the key to check against is not known: give --key, as `trueup audit key` printed it: %w", err)
		}
	}
	return audit.ParseKey(given)
}

func (a *app) readKey(cmd *cobra.Command) (key string, err error) {
	err = a.storeOrServer(cmd, func(c *api.Client) (err error) {
		key, err = c.AuditKey(cmd.Context())
		return err
	}, func(ctx context.Context, s store.Store) (err error) {
		key, err = s.AuditKey(ctx)
		return err
	})
	return key, err
}

func (a *app) auditKeyCommand() *cobra.Command {
	return &cobra.Command{Use: "key", Short: "Print the public key that the record is signed with", Args: cobra.NoArgs,
		Long:    "Print the public key that the record is signed with. Keep it where whoever has\nthe database can't change it: exports are checked against it.",
		Example: "  trueup audit key",
		RunE: func(cmd *cobra.Command, _ []string) error {
			key, err := a.readKey(cmd)
			if err != nil {
				return err
			}
			if !a.table() {
				return a.print(cmd, api.AuditKey{Key: key})
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), key)
			return err
		}}
}
