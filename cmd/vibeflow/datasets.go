package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/apiclient"
	"github.com/vibeflow/vibeflow/internal/dataset"
)

func (a *app) datasetsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "datasets", Short: "Upload, list and look into datasets"}
	cmd.AddCommand(a.datasetsUpload(), a.datasetsList(), a.datasetsGet(), a.datasetsPreview(), a.datasetsIssues(), a.datasetsTokens(), a.datasetsProcess(), removeCommand(a, "dataset id", "/api/datasets/"),
		editCommand(a, "dataset id", "/api/datasets/", printDataset))
	return cmd
}

func (a *app) datasetsUpload() *cobra.Command {
	var as apiclient.Upload
	var options processFlags
	cmd := &cobra.Command{
		Use: "upload FILE", Short: "Upload a file and wait until it is read", Args: oneArg("file"),
		Example: `  vibeflow datasets upload questions.jsonl
  vibeflow datasets upload tickets.csv --map 'prompt=Question,completion=Answer' --eval-rows 200`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFile(cmd.Context(), args[0]); err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			as.Options = options.given()
			ds, err := a.ingest(cmd.Context(), c, args[0], as)
			if err != nil {
				return err
			}
			return a.print(ds, func(w io.Writer) { printDataset(w, ds) })
		},
	}
	cmd.Flags().StringVar(&as.Name, "name", "", "name (default: the file's)")
	options.define(cmd.Flags())
	return cmd
}

// processFlags are the flags that say how a dataset is processed.
type processFlags struct {
	flags       *pflag.FlagSet
	mapping     map[string]string
	deduplicate bool
	evalRows    int64
	seed        int64
}

func (p *processFlags) define(flags *pflag.FlagSet) {
	p.flags = flags
	mappingFlag(flags, &p.mapping)
	flags.BoolVar(&p.deduplicate, "deduplicate", true, "drop rows that repeat another")
	flags.Int64Var(&p.evalRows, "eval-rows", 0, "held-out rows (default: by the number of rows)")
	flags.Int64Var(&p.seed, "seed", 42, "seed of the split")
}

func mappingFlag(flags *pflag.FlagSet, mapping *map[string]string) {
	flags.StringToStringVar(mapping, "map", nil, "columns that have names of their own, as `role=column,…`: prompt=Question,completion=Answer")
	flags.Lookup("map").DefValue = ""
}

// given are the options that were named; the others are the dataset's or the default's.
func (p *processFlags) given() map[string]any {
	options := map[string]any{}
	for flag, option := range map[string]struct {
		name  string
		value any
	}{"map": {"mapping", p.mapping}, "deduplicate": {"deduplicate", p.deduplicate}, "eval-rows": {"eval_rows", p.evalRows}, "seed": {"seed", p.seed}} {
		if p.flags.Changed(flag) {
			options[option.name] = option.value
		}
	}
	return options
}

// checkFile refuses, before anything is sent, what is no file of a type that is read.
func checkFile(ctx context.Context, path string) error {
	file, err := os.Open(path) //nolint:gosec // the user's own choice of file
	if err != nil {
		return apiclient.CannotOpen(path, err)
	}
	defer func() { _ = file.Close() }()
	source, err := dataset.FromFile(file)
	if err != nil {
		return err
	}
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return apiclient.NoFile(path)
	}
	_, err = dataset.Open(ctx, source)
	return err
}

// ingest uploads a file and follows the Ingest workflow to its end.
func (a *app) ingest(ctx context.Context, c *apiclient.Client, path string, as apiclient.Upload) (apigen.Dataset, error) {
	bar := a.line()
	ds, err := c.UploadDataset(ctx, path, as, func(sent, total int64) {
		bar.update("uploading", float64(sent), float64(total), humanize.IBytes(uint64(sent)))
	})
	if err != nil {
		return ds, err
	}
	bar.done("upload", humanize.IBytes(uint64(ds.Size)))
	return a.awaitDataset(ctx, c, ds.ID)
}

func (a *app) awaitDataset(ctx context.Context, c *apiclient.Client, id string) (apigen.Dataset, error) {
	bar := a.line()
	err := c.Follow(ctx, "/api/datasets/"+id+"/events", 0, func(e contract.Event) error {
		if e.Type == contract.EventType(contract.KindDataset, contract.EventProgress) {
			var p contract.Progress
			if err := json.Unmarshal(e.Payload, &p); err == nil {
				bar.update("reading ("+p.Phase+")", float64(p.Done), float64(p.Total), p.Note)
			}
		}
		return nil
	}, a.reconnecting)
	if err != nil {
		return apigen.Dataset{}, err
	}
	ds, err := apiclient.Get[apigen.Dataset](ctx, c, "/api/datasets/"+id, nil)
	if err != nil {
		return ds, err
	}
	if ds.Error.Code != "" { // also of a dataset that was processed again in vain: the earlier result stays
		a.cite(ds)
		return ds, errRunFailed{a.unread(ds)}
	}
	bar.done("read", fmt.Sprintf("%d rows of %s: %d to train on, %d held out%s", ds.Rows, ds.Format, ds.TrainRows, ds.EvalRows, leftOut(ds.Dropped)))
	a.cite(ds)
	return ds, nil
}

// rowsCited is how many invalid rows are told of where a file is read; `datasets issues` tells of more.
const rowsCited = 3

// cite says what a person should know of the file, which rows are left out as invalid and why: the first ones, and how to
// see the others.
func (a *app) cite(ds apigen.Dataset) {
	for _, note := range profileOf(ds).Notes {
		a.note("! %s", note)
	}
	issues := profileOf(ds).Issues
	invalid := slices.DeleteFunc(issues.Cited, func(i dataset.Issue) bool { return i.Severity != dataset.SeverityError })
	for _, issue := range invalid[:min(rowsCited, len(invalid))] {
		a.note("! %s: %s", issue.Where(), issue.Message)
	}
	if issues.Errors > rowsCited {
		a.note("! and %d more: %s", issues.Errors-rowsCited, a.hint("datasets issues %s", ds.ID))
	}
}

// findings are what reading has told of a file: sentences, and what is wrong with rows; nothing of a file that was not understood.
type findings struct {
	Issues dataset.Issues `json:"issues"`
	Notes  []string       `json:"notes"`
}

func profileOf(ds apigen.Dataset) (told findings) {
	_ = json.Unmarshal(ds.Profile, &told)
	return told
}

// unread is why a file was not understood. Where its columns have to be named the file need not be sent again.
func (a *app) unread(ds apigen.Dataset) *contract.Error {
	problem := ds.Error
	if problem.Field == "mapping" {
		problem.Remedy = fmt.Sprintf("say what they are: %s (roles: system, prompt, completion, "+
			"instruction, input, output, messages, text, …)", a.hint("run %s --map 'prompt=COLUMN,completion=COLUMN'", ds.ID))
	}
	return &problem
}

// leftOut says why rows are in neither split.
func leftOut(dropped map[string]int64) string {
	total, why := int64(0), []string{}
	for _, reason := range slices.Sorted(maps.Keys(dropped)) {
		if n := dropped[reason]; n > 0 {
			total, why = total+n, append(why, fmt.Sprintf("%d %s", n, cmp.Or(leftOutText[reason], reason)))
		}
	}
	if total == 0 {
		return ""
	}
	return fmt.Sprintf(", %d left out (%s)", total, strings.Join(why, ", "))
}

var leftOutText = map[string]string{
	dataset.DroppedInvalid: "invalid", dataset.DroppedDuplicate: "repeated", dataset.DroppedTooShort: "too short", dataset.DroppedTooLong: "too long",
	dataset.DroppedTurns: "with too many turns", dataset.DroppedMaxRows: "beyond max_rows",
}

func (a *app) reconnecting(error) { a.note("  (connection lost; reconnecting …)") }

func printDataset(w io.Writer, ds apigen.Dataset) {
	t := table(w)
	row(t, "id", ds.ID)
	row(t, "name", ds.Name)
	row(t, "status", ds.Status)
	row(t, "format", ds.Format)
	row(t, "rows", ds.Rows)
	row(t, "train / held out", fmt.Sprintf("%d / %d%s", ds.TrainRows, ds.EvalRows, leftOut(ds.Dropped)))
	if len(ds.Options.Mapping) > 0 {
		row(t, "mapping", mappingText(ds.Options.Mapping))
	}
	labels(knownIn(t), ds.Notes, ds.Tags)
	if ds.Error.Code != "" {
		row(t, "error", ds.Error.Error())
	}
	_ = t.Flush()
}

// mappingText says a mapping as --map takes it.
func mappingText(mapping map[string]string) string {
	var pairs []string
	for _, role := range slices.Sorted(maps.Keys(mapping)) {
		pairs = append(pairs, role+"="+mapping[role])
	}
	return strings.Join(pairs, ",")
}

func (a *app) datasetsList() *cobra.Command {
	return listCommand(a, "List datasets", "/api/datasets", func(w io.Writer, page apigen.DatasetPage) {
		t := table(w)
		row(t, "ID", "NAME", "FORMAT", "ROWS", "STATUS", "CREATED")
		for _, d := range page.Items {
			row(t, d.ID, d.Name, d.Format, d.Rows, d.Status, d.CreatedAt.Local().Format("2006-01-02 15:04"))
		}
		_ = t.Flush()
	}, bySearch, byTag, byStatus, bySort)
}

func (a *app) datasetsGet() *cobra.Command {
	return getCommand(a, "dataset id", "/api/datasets/", func(w io.Writer, ds apigen.Dataset) {
		printDataset(w, ds)
		for _, note := range profileOf(ds).Notes {
			_, _ = fmt.Fprintln(w, note)
		}
	})
}

func (a *app) datasetsPreview() *cobra.Command {
	var split string
	var offset, limit int
	cmd := &cobra.Command{
		Use: "preview ID", Short: "Show rows", Args: oneArg("dataset id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			query := url.Values{"split": {split}, "offset": {strconv.Itoa(offset)}, "limit": {strconv.Itoa(limit)}}
			preview, err := apiclient.Get[apigen.Preview](cmd.Context(), c, "/api/datasets/"+url.PathEscape(args[0])+"/preview", query)
			if err != nil {
				return err
			}
			return a.print(preview, func(w io.Writer) {
				for _, r := range preview.Rows {
					_, _ = fmt.Fprintln(w, string(r))
				}
			})
		},
	}
	cmd.Flags().StringVar(&split, "split", "raw", "raw, train or eval")
	cmd.Flags().IntVar(&offset, "offset", 0, "first row")
	cmd.Flags().IntVar(&limit, "limit", 10, "most rows")
	return cmd
}

func (a *app) datasetsIssues() *cobra.Command {
	return idCommand(a, "issues", "Show which rows are invalid or odd, and why", "dataset id", func(ctx context.Context, c *apiclient.Client, id string) (dataset.Issues, error) {
		ds, err := apiclient.Get[apigen.Dataset](ctx, c, "/api/datasets/"+url.PathEscape(id), nil)
		return profileOf(ds).Issues, err
	}, printIssues)
}

func printIssues(w io.Writer, issues dataset.Issues) {
	if len(issues.Cited) == 0 {
		_, _ = fmt.Fprintln(w, "no row is invalid or odd")
		return
	}
	t := table(w)
	row(t, "WHERE", "SEVERITY", "CODE", "WHAT")
	for _, issue := range issues.Cited {
		row(t, issue.Where(), issue.Severity, issue.Code, issue.Message)
	}
	_ = t.Flush()
	if all := issues.Errors + issues.Warnings; all > int64(len(issues.Cited)) {
		_, _ = fmt.Fprintf(w, "\nshown are %d of %d:\n", len(issues.Cited), all)
		for _, c := range issues.Counts {
			_, _ = fmt.Fprintf(w, "  %d %s\n", c.Count, c.Code)
		}
	}
}

func (a *app) datasetsTokens() *cobra.Command {
	var model, split string
	var offset, limit int
	var learnAll bool
	cmd := &cobra.Command{
		Use: "tokens ID", Short: "Show rows as a model reads them, with what training learns in ⟦brackets⟧", Args: oneArg("dataset id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			query := url.Values{"split": {split}, "offset": {strconv.Itoa(offset)}, "limit": {strconv.Itoa(limit)}, "learn_all": {strconv.FormatBool(learnAll)}}
			if model != "" {
				query.Set("model_id", model)
			}
			shown, err := apiclient.Get[apigen.TokenRows](cmd.Context(), c, "/api/datasets/"+url.PathEscape(args[0])+"/tokens", query)
			if err != nil {
				return err
			}
			return a.print(shown, func(w io.Writer) { printTokens(w, shown) })
		},
	}
	cmd.Flags().StringVar(&model, "model", "", "model id (default: the bundled one)")
	cmd.Flags().StringVar(&split, "split", "train", "train or eval")
	cmd.Flags().IntVar(&offset, "offset", 0, "first row")
	cmd.Flags().IntVar(&limit, "limit", 3, "most rows, 20 at the most")
	cmd.Flags().BoolVar(&learnAll, "learn-all", false, "as with completion_only off")
	return cmd
}

func printTokens(w io.Writer, shown apigen.TokenRows) {
	for _, row := range shown.Rows {
		_, _ = fmt.Fprintf(w, "row %d, %d tokens\n", row.Row, row.Length)
		learned := false
		for _, token := range row.Tokens {
			if token.Trained != learned {
				_, _ = io.WriteString(w, map[bool]string{true: "⟦", false: "⟧"}[token.Trained])
				learned = token.Trained
			}
			_, _ = io.WriteString(w, token.Text)
		}
		if learned {
			_, _ = io.WriteString(w, "⟧")
		}
		_, _ = io.WriteString(w, "\n\n")
	}
}

func (a *app) datasetsProcess() *cobra.Command {
	var options processFlags
	cmd := &cobra.Command{
		Use: "process ID", Short: "Process again: map columns, deduplicate, split", Args: oneArg("dataset id"),
		Long: "Processes a dataset again. What no flag names stays as the dataset has it.",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			ds, err := a.process(cmd.Context(), c, args[0], options.given())
			if err != nil {
				return err
			}
			return a.print(ds, func(w io.Writer) { printDataset(w, ds) })
		},
	}
	options.define(cmd.Flags())
	return cmd
}

func (a *app) process(ctx context.Context, c *apiclient.Client, id string, options map[string]any) (apigen.Dataset, error) {
	ds, err := apiclient.Post[apigen.Dataset](ctx, c, "/api/datasets/"+url.PathEscape(id)+"/process", options)
	if err != nil {
		return ds, err
	}
	return a.awaitDataset(ctx, c, ds.ID)
}

func table(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 0, 0, 2, ' ', 0) }

func row(t *tabwriter.Writer, cells ...any) {
	for i, cell := range cells {
		if i > 0 {
			_, _ = fmt.Fprint(t, "\t")
		}
		_, _ = fmt.Fprint(t, cell)
	}
	_, _ = fmt.Fprintln(t)
}

// knownIn writes a line of a table if there is something to say.
func knownIn(t *tabwriter.Writer) func(is bool, name, value string) {
	return func(is bool, name, value string) {
		if is {
			row(t, name, value)
		}
	}
}

// listCommand is `list` of a kind; T is its page.
func listCommand[T any](a *app, short, path string, text func(io.Writer, T), by ...listFlag) *cobra.Command {
	values := make([][]string, len(by))
	cmd := listCommandWith(a, short, path, func(query url.Values) {
		for i, flag := range by {
			query[flag.query] = values[i]
		}
	}, text)
	for i, flag := range by {
		cmd.Flags().StringArrayVar(&values[i], flag.name, nil, flag.help)
	}
	return cmd
}

// listFlag is a flag that narrows or orders a list, and the parameter of the query that it becomes.
type listFlag struct{ name, query, help string }

var (
	bySearch  = listFlag{"search", "q", "only those with this in their name (of what has no name: in the model's)"}
	byTag     = listFlag{"tag", "tag", "only those with this tag (several, that have all of them: again)"}
	byStatus  = listFlag{"status", "status", "only those with this status (several: again)"}
	byDataset = listFlag{"dataset", "dataset_id", "only those about this dataset"}
	byModel   = listFlag{"model", "model_id", "only those about this model"}
	bySort    = listFlag{"sort", "sort", "created, updated or name; with - before it, from the last to the first (default -created)"}
)

// listCommandWith is listCommand with a filter of the kind's own.
func listCommandWith[T any](a *app, short, path string, filter func(url.Values), text func(io.Writer, T)) *cobra.Command {
	var limit int
	var cursor string
	cmd := &cobra.Command{
		Use: "list", Short: short, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			query := url.Values{"limit": {strconv.Itoa(limit)}}
			if cursor != "" {
				query.Set("cursor", cursor)
			}
			filter(query)
			page, err := apiclient.Get[T](cmd.Context(), c, path, query)
			if err != nil {
				return err
			}
			return a.print(page, func(w io.Writer) { text(w, page) })
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 50, "most entries")
	cmd.Flags().StringVar(&cursor, "cursor", "", "next_cursor of the page before")
	return cmd
}

// getCommand is `get ID` of a kind.
func getCommand[T any](a *app, what, path string, text func(io.Writer, T)) *cobra.Command {
	return idCommand(a, "get", "Show one", what, func(ctx context.Context, c *apiclient.Client, id string) (T, error) {
		return apiclient.Get[T](ctx, c, path+url.PathEscape(id), nil)
	}, text)
}

// idCommand is a command that does something with one resource and prints what comes of it.
func idCommand[T any](a *app, verb, short, what string, do func(context.Context, *apiclient.Client, string) (T, error), text func(io.Writer, T)) *cobra.Command {
	return &cobra.Command{
		Use: verb + " ID", Short: short, Args: oneArg(what),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			value, err := do(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			return a.print(value, func(w io.Writer) { text(w, value) })
		},
	}
}

// removeCommand is `rm ID` of a kind.
func removeCommand(a *app, what, path string) *cobra.Command {
	var preview bool
	cmd := &cobra.Command{
		Use: "rm ID", Short: "Delete one, unless it is in use", Args: oneArg(what),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			gone, err := apiclient.DeleteWith[apigen.Deletion](cmd.Context(), c, path+url.PathEscape(args[0]), url.Values{"preview": {strconv.FormatBool(preview)}})
			if err != nil {
				return err
			}
			return a.print(gone, func(w io.Writer) { printDeletion(w, gone) })
		},
	}
	cmd.Flags().BoolVar(&preview, "preview", false, "only say what would go")
	return cmd
}

func printDeletion(w io.Writer, d apigen.Deletion) {
	verb := "deleted"
	if !d.Deleted {
		verb = "would delete"
	}
	_, _ = fmt.Fprintf(w, "%s %s %s: %d stored files, %d bytes\n", verb, d.Kind, d.ID, d.Files, d.Bytes)
	for _, also := range d.Also {
		_, _ = fmt.Fprintf(w, "  with it: %s %s\n", also.Kind, also.ID)
	}
}

func (a *app) diskCommand() *cobra.Command {
	return &cobra.Command{
		Use: "disk", Short: "What takes room on the server's disk (owners only)", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			use, err := apiclient.Get[apigen.DiskUse](cmd.Context(), c, "/api/system/disk", nil)
			if err != nil {
				return err
			}
			return a.print(use, func(w io.Writer) {
				t := table(w)
				for _, k := range use.Kinds {
					row(t, k.Kind, humanize.IBytes(uint64(k.Bytes)), fmt.Sprintf("%d files", k.Files))
				}
				row(t, "all", humanize.IBytes(uint64(use.TotalBytes)))
				row(t, "free", humanize.IBytes(uint64(use.Volume.FreeBytes)), "of "+humanize.IBytes(uint64(use.Volume.TotalBytes))+" that hold "+use.Volume.Path)
				_ = t.Flush()
				if use.Collectable.Files > 0 {
					_, _ = fmt.Fprintf(w, "`vibeflow gc` would free %s (%d files)\n", humanize.IBytes(uint64(use.Collectable.Bytes)), use.Collectable.Files)
				}
			})
		},
	}
}

func (a *app) gcCommand() *cobra.Command {
	var preview bool
	cmd := &cobra.Command{
		Use: "gc", Short: "Delete stored files that nothing refers to", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			gone, err := apiclient.PostWith[apigen.Garbage](cmd.Context(), c, "/api/system/gc", url.Values{"preview": {strconv.FormatBool(preview)}})
			if err != nil {
				return err
			}
			return a.print(gone, func(w io.Writer) {
				verb := "deleted"
				if preview {
					verb = "would delete"
				}
				_, _ = fmt.Fprintf(w, "%s %d stored files, %d bytes\n", verb, gone.Files, gone.Bytes)
			})
		},
	}
	cmd.Flags().BoolVar(&preview, "preview", false, "only say what would go")
	return cmd
}
