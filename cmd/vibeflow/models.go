package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/apiclient"
)

func (a *app) modelsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "models", Short: "Base models and tuned models"}
	cmd.AddCommand(removeCommand(a, "model id", "/api/models/"),
		listCommand(a, "List models", "/api/models", func(w io.Writer, page apigen.ModelPage) {
			t := table(w)
			row(t, "ID", "KIND", "NAME", "PARAMETERS", "LICENSE", "SOURCE")
			for _, m := range page.Items {
				row(t, m.ID, m.Kind, m.Name, parameters(m.Parameters), m.License, m.Source)
			}
			_ = t.Flush()
		}, bySearch, byTag, bySort),
		getCommand(a, "model id", "/api/models/", printModel), editCommand(a, "model id", "/api/models/", printModel), a.modelsAdd(), a.modelsUpload())
	return cmd
}

func printModel(w io.Writer, m apigen.Model) {
	t := table(w)
	known := knownIn(t)
	row(t, "id", m.ID)
	row(t, "name", m.Name)
	row(t, "kind", m.Kind)
	row(t, "source", m.Source)
	row(t, "base", m.BaseModelID)
	row(t, "license", m.License)
	row(t, "context", m.ContextLength)
	labels(known, m.Notes, m.Tags)
	known(m.Note != "", "note", m.Note)
	_ = t.Flush()
}

// parameters says how many weights a model has, "?" while that is not known.
func parameters(n int64) string {
	switch {
	case n <= 0:
		return "?"
	case n < 1e7:
		return fmt.Sprintf("%.1f M", float64(n)/1e6)
	case n < 1e9:
		return fmt.Sprintf("%.0f M", float64(n)/1e6)
	default:
		return fmt.Sprintf("%.1f B", float64(n)/1e9)
	}
}

func (a *app) modelsAdd() *cobra.Command {
	var request apigen.AddModel
	cmd := &cobra.Command{
		Use: "add SOURCE", Short: "Add a base: hub:owner/name, or path:/folder of safetensors", Args: oneArg("source"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			request.Source = args[0]
			m, err := apiclient.Post[apigen.Model](cmd.Context(), c, "/api/models", request)
			if err != nil {
				return err
			}
			if m.Note != "" {
				a.note("%s", m.Note)
			}
			return a.print(m, func(w io.Writer) { _, _ = fmt.Fprintln(w, m.ID) })
		},
	}
	cmd.Flags().StringVar(&request.Name, "name", "", "name")
	cmd.Flags().StringVar(&request.Revision, "revision", "", "commit of the Hub repository")
	return cmd
}

func (a *app) evaluateCommand() *cobra.Command {
	var request apigen.StartEvaluation
	cmd := &cobra.Command{
		Use: "evaluate MODEL", Short: "Compare a tuned model with its base on held-out rows", Args: oneArg("tuned model id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			request.ModelID = args[0]
			e, err := apiclient.Start[apigen.Evaluation](cmd.Context(), c, "/api/evaluation/start", request)
			if err == nil {
				e, err = a.watchEvaluation(cmd.Context(), c, e.ID)
			}
			if err != nil {
				return err
			}
			return a.print(e, func(w io.Writer) { printEvaluation(w, e) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&request.DatasetID, "dataset", "", "dataset (default: the one it was tuned on)")
	f.IntVar(&request.MaxRows, "max-rows", 0, "held-out rows to score (0: all)")
	f.IntVar(&request.MaxGenerations, "max-generations", 20, "rows to answer for exact match and ROUGE-L")
	return cmd
}

func (a *app) watchEvaluation(ctx context.Context, c *apiclient.Client, id string) (apigen.Evaluation, error) {
	bar := a.line()
	path := "/api/evaluation/" + url.PathEscape(id)
	err := c.Follow(ctx, path+"/events", 0, func(e contract.Event) error {
		if e.Type == contract.EventType(contract.KindEvaluation, contract.EventQueued) {
			bar.update("waiting", 0, 0, "for a slot")
		}
		var p contract.Progress
		if e.Type == contract.RunnerProgress && json.Unmarshal(e.Payload, &p) == nil {
			bar.update("evaluating", float64(p.Done), float64(p.Total), phaseText(p.Phase))
		}
		return nil
	}, a.reconnecting)
	if err != nil {
		return apigen.Evaluation{}, err
	}
	e, err := apiclient.Get[apigen.Evaluation](ctx, c, path, nil)
	if err != nil {
		return e, err
	}
	if contract.Status(e.Status) == contract.StatusFailed {
		return e, errRunFailed{&e.Error}
	}
	bar.done("evaluate", e.Result.VerdictText)
	return e, nil
}

func printEvaluation(w io.Writer, e apigen.Evaluation) {
	r := e.Result
	_, _ = fmt.Fprintln(w, r.VerdictText)
	t := table(w)
	row(t, "", "BASE", "TUNED")
	row(t, "loss", fmt.Sprintf("%.4f", r.LossBase), fmt.Sprintf("%.4f", r.LossTuned))
	row(t, "perplexity", fmt.Sprintf("%.2f", r.PerplexityBase), fmt.Sprintf("%.2f", r.PerplexityTuned))
	row(t, "exact match", fmt.Sprintf("%.1f %%", 100*r.ExactMatchBase), fmt.Sprintf("%.1f %%", 100*r.ExactMatchTuned))
	row(t, "ROUGE-L", fmt.Sprintf("%.3f", r.RougeLBase), fmt.Sprintf("%.3f", r.RougeLTuned))
	_ = t.Flush()
	_, _ = fmt.Fprintf(w, "loss change %+.4f, 95 %% interval [%+.4f, %+.4f], over %d rows\n", r.LossDelta, r.LossDeltaCI[0], r.LossDeltaCI[1], r.Rows)
}

func (a *app) deployCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "deploy MODEL", Short: "Serve a model behind /v1/chat/completions", Args: oneArg("model id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			d, err := apiclient.Start[apigen.Deployment](cmd.Context(), c, "/api/deployments", apigen.StartDeployment{ModelID: args[0]})
			if err == nil {
				d, err = a.awaitDeployment(cmd.Context(), c, d.ID, d.ModelID)
			}
			if err != nil {
				return err
			}
			return a.print(d, func(w io.Writer) {
				_, _ = fmt.Fprintf(w, "%s serves %s; talk to it with: %s\n", d.ID, d.ModelID, a.hint(`chat %s "your question"`, d.ModelID))
			})
		},
	}
	cmd.AddCommand(listCommand(a, "List deployments", "/api/deployments", func(w io.Writer, page apigen.DeploymentPage) {
		t := table(w)
		row(t, "ID", "MODEL", "STATUS", "WORKER")
		for _, d := range page.Items {
			row(t, d.ID, d.ModelID, d.Status, d.Worker)
		}
		_ = t.Flush()
	}, bySearch, byStatus, byModel, bySort), a.deployStop())
	return cmd
}

func (a *app) deployStop() *cobra.Command {
	return idCommand(a, "stop", "Take a deployment down", "deployment id", func(ctx context.Context, c *apiclient.Client, id string) (apigen.Deployment, error) {
		return apiclient.Delete[apigen.Deployment](ctx, c, "/api/deployments/"+url.PathEscape(id))
	}, func(w io.Writer, d apigen.Deployment) { _, _ = fmt.Fprintf(w, "%s %s\n", d.ID, d.Status) })
}

// awaitDeployment asks until the model answers: that an engine came back is not always an event.
func (a *app) awaitDeployment(ctx context.Context, c *apiclient.Client, id, what string) (apigen.Deployment, error) {
	bar := a.line()
	path := "/api/deployments/" + url.PathEscape(id)
	for lost := false; ; {
		d, err := apiclient.Get[apigen.Deployment](ctx, c, path, nil)
		switch status := contract.Status(d.Status); {
		case contract.CodeOf(err) == contract.CodeUnavailable:
			if !lost {
				a.reconnecting(err)
			}
			lost = true
		case err != nil:
			return d, err
		case status == contract.StatusServing:
			bar.done("deploy", what+" answers on "+d.Device)
			return d, nil
		case status.Final():
			return d, errRunFailed{&d.Error}
		default:
			lost = false
			bar.update(deploymentText[status], 0, 0, "")
		}
		select {
		case <-ctx.Done():
			return d, ctx.Err()
		case <-time.After(deploymentPoll):
		}
	}
}

const deploymentPoll = 300 * time.Millisecond

var deploymentText = map[contract.Status]string{
	contract.StatusQueued: "waiting for a worker", contract.StatusRunning: "loading the model",
	contract.StatusRestarting: "restarting the engine", contract.StatusStopping: "stopping",
}

func (a *app) exportCommand() *cobra.Command {
	var request apigen.StartExport
	var format, to string
	cmd := &cobra.Command{
		Use: "export MODEL", Short: "Download a tuned model: its adapter, or merged safetensors", Args: oneArg("tuned model id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			request.ModelID, request.Format = args[0], apigen.StartExportFormat(format)
			if to == "" {
				to = args[0] + "-" + format
			}
			e, err := a.export(cmd.Context(), c, request)
			if err == nil {
				err = a.download(cmd.Context(), c, e, to)
			}
			if err != nil {
				return err
			}
			return a.print(e, func(w io.Writer) { _, _ = fmt.Fprintln(w, to) })
		},
	}
	cmd.Flags().StringVar(&format, "format", "adapter", "adapter or merged")
	cmd.Flags().StringVarP(&to, "output", "o", "", "folder to write (default: MODEL-FORMAT); run again to go on after a break")
	return cmd
}

func (a *app) export(ctx context.Context, c *apiclient.Client, request apigen.StartExport) (apigen.Export, error) {
	bar := a.line()
	e, err := exportUnderWay(ctx, c, request)
	if err == nil && e.ID == "" {
		e, err = apiclient.Start[apigen.Export](ctx, c, "/api/exports", request)
	}
	if err != nil {
		return e, err
	}
	path := "/api/exports/" + url.PathEscape(e.ID)
	if err := c.Follow(ctx, path+"/events", 0, func(event contract.Event) error {
		switch event.Type {
		case contract.EventType(contract.KindExport, contract.EventCreated):
		case contract.EventType(contract.KindExport, contract.EventQueued):
			bar.update("waiting", 0, 0, "for a slot")
		default:
			bar.update("exporting", 0, 0, string(request.Format))
		}
		return nil
	}, a.reconnecting); err != nil {
		return e, err
	}
	if e, err = apiclient.Get[apigen.Export](ctx, c, path, nil); err != nil {
		return e, err
	}
	if contract.Status(e.Status) != contract.StatusCompleted {
		return e, errRunFailed{&e.Error}
	}
	bar.done("export", fmt.Sprintf("%d files", len(e.Files)))
	return e, nil
}

// exportUnderWay finds what an interrupted command started, so that running it again does not queue a second export.
// It is empty where there is none.
func exportUnderWay(ctx context.Context, c *apiclient.Client, request apigen.StartExport) (apigen.Export, error) {
	query := url.Values{"model_id": {request.ModelID}, "status": {string(contract.StatusQueued), string(contract.StatusRunning)}}
	page, err := apiclient.Get[apigen.ExportPage](ctx, c, "/api/exports", query)
	if err != nil {
		return apigen.Export{}, err
	}
	for _, e := range page.Items {
		if string(e.Format) == string(request.Format) {
			return e, nil
		}
	}
	return apigen.Export{}, nil
}

// download writes an export's files below a folder. Paths come from the server and must stay inside it.
func (a *app) download(ctx context.Context, c *apiclient.Client, e apigen.Export, to string) error {
	bar := a.line()
	for _, f := range e.Files {
		if !filepath.IsLocal(filepath.FromSlash(f.Path)) {
			return contract.Errorf(contract.CodeInternal, "the server named a file outside the export: %q", f.Path)
		}
		path := filepath.Join(to, filepath.FromSlash(f.Path))
		if same, err := holds(path, f); err != nil {
			return err
		} else if same {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			return err
		}
		err := c.Download(ctx, "/api/exports/"+url.PathEscape(e.ID)+"/download", url.Values{"file": {f.Path}}, path, f.Size,
			func(done, total int64) {
				bar.update("downloading "+f.Path, float64(done), float64(total), humanize.IBytes(uint64(done)))
			})
		if err != nil {
			return err
		}
	}
	bar.done("download", to)
	return nil
}

// holds tells whether a file is there with the content that the server names. A file with another content is not
// overwritten: it is somebody's earlier export.
func holds(path string, want contract.FileInfo) (bool, error) {
	file, err := os.Open(path) //nolint:gosec // below the user's own choice of folder
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = file.Close() }()
	digest, err := apiclient.Digest(file)
	if err != nil {
		return false, err
	}
	if digest != want.SHA256 {
		return false, contract.Errorf(contract.CodeConflict, "%s is there already, with another content", path).On("output").
			Mend("name another folder with --output")
	}
	return true, nil
}
