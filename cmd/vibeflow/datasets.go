package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/apiclient"
)

func (a *app) datasetsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "datasets", Short: "Upload, list and look into datasets"}
	cmd.AddCommand(a.datasetsUpload(), a.datasetsList(), a.datasetsGet(), a.datasetsPreview(), a.datasetsProcess())
	return cmd
}

func (a *app) datasetsUpload() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use: "upload FILE", Short: "Upload a file and wait until it is read", Args: oneArg("file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			ds, err := a.ingest(cmd.Context(), c, args[0], name)
			if err != nil {
				return err
			}
			return a.print(ds, func(w io.Writer) { printDataset(w, ds) })
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "name (default: the file's)")
	return cmd
}

// ingest uploads a file and follows the Ingest workflow to its end.
func (a *app) ingest(ctx context.Context, c *apiclient.Client, path, name string) (apigen.Dataset, error) {
	bar := a.line()
	ds, err := c.UploadDataset(ctx, path, name, func(sent, total int64) {
		bar.update("uploading", float64(sent), float64(total), size(sent))
	})
	if err != nil {
		return ds, err
	}
	bar.done("upload", size(ds.Size))
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
	if contract.Status(ds.Status) == contract.StatusFailed {
		return ds, errRunFailed{&ds.Error}
	}
	if ds.Error.Code != "" {
		return ds, errRunFailed{&ds.Error} // processed again in vain: the earlier result stays
	}
	left := ""
	if out := ds.Rows - ds.TrainRows - ds.EvalRows; out > 0 {
		left = fmt.Sprintf(", %d left out (empty, invalid or repeated; see `vibeflow datasets get %s --json`)", out, ds.ID)
	}
	bar.done("read", fmt.Sprintf("%d rows of %s: %d to train on, %d held out%s", ds.Rows, ds.Format, ds.TrainRows, ds.EvalRows, left))
	return ds, nil
}

func (a *app) reconnecting(error) { a.note("  (connection lost; reconnecting …)") }

func printDataset(w io.Writer, ds apigen.Dataset) {
	t := table(w)
	row(t, "id", ds.ID)
	row(t, "name", ds.Name)
	row(t, "status", ds.Status)
	row(t, "format", ds.Format)
	row(t, "rows", ds.Rows)
	row(t, "train / held out", fmt.Sprintf("%d / %d", ds.TrainRows, ds.EvalRows))
	if ds.Error.Code != "" {
		row(t, "error", ds.Error.Error())
	}
	_ = t.Flush()
}

func (a *app) datasetsList() *cobra.Command {
	return listCommand(a, "List datasets", "/api/datasets", func(w io.Writer, page apigen.DatasetPage) {
		t := table(w)
		row(t, "ID", "NAME", "FORMAT", "ROWS", "STATUS", "CREATED")
		for _, d := range page.Items {
			row(t, d.ID, d.Name, d.Format, d.Rows, d.Status, d.CreatedAt.Local().Format("2006-01-02 15:04"))
		}
		_ = t.Flush()
	})
}

func (a *app) datasetsGet() *cobra.Command {
	return getCommand(a, "dataset id", "/api/datasets/", printDataset)
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
					data, _ := json.Marshal(r)
					_, _ = fmt.Fprintln(w, string(data))
				}
			})
		},
	}
	cmd.Flags().StringVar(&split, "split", "raw", "raw, train or eval")
	cmd.Flags().IntVar(&offset, "offset", 0, "first row")
	cmd.Flags().IntVar(&limit, "limit", 10, "most rows")
	return cmd
}

func (a *app) datasetsProcess() *cobra.Command {
	var options apigen.ProcessOptions
	cmd := &cobra.Command{
		Use: "process ID", Short: "Process again: map columns, deduplicate, filter, split", Args: oneArg("dataset id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			ds, err := apiclient.Post[apigen.Dataset](cmd.Context(), c, "/api/datasets/"+url.PathEscape(args[0])+"/process", options)
			if err != nil {
				return err
			}
			if ds, err = a.awaitDataset(cmd.Context(), c, ds.ID); err != nil {
				return err
			}
			return a.print(ds, func(w io.Writer) { printDataset(w, ds) })
		},
	}
	f := cmd.Flags()
	f.StringToStringVar(&options.Mapping, "map", nil, "role=column, e.g. prompt=question,completion=answer")
	f.BoolVar(&options.Deduplicate, "deduplicate", true, "drop rows that repeat another")
	f.IntVar(&options.EvalRows, "eval-rows", 0, "held-out rows")
	f.Int64Var(&options.Seed, "seed", 42, "seed of the split")
	return cmd
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

// listCommand is `list` of a kind; T is its page.
func listCommand[T any](a *app, short, path string, text func(io.Writer, T)) *cobra.Command {
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
