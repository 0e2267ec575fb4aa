package api

import (
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"time"

	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/store"
)

const defaultComparedPoints = 300

// CompareJobs shows training jobs side by side.
func (s *Server) CompareJobs(c *echo.Context, p apigen.CompareJobsParams) error {
	points := p.MaxPoints
	if points == 0 {
		points = defaultComparedPoints
	}
	out := apigen.JobComparison{Runs: []apigen.ComparedJob{}}
	var told []map[string]any
	seen := map[string]bool{}
	for _, id := range p.ID {
		j, err := s.Store.GetJob(c.Request().Context(), id)
		if err != nil {
			return err
		}
		if seen[id] {
			return contract.Errorf(contract.CodeInvalid, "the job %q is named twice", id).On("id").Mend("name different ones")
		}
		seen[id] = true
		view, err := s.compared(c.Request().Context(), j, points)
		if err != nil {
			return err
		}
		out.Runs, told = append(out.Runs, view), append(told, settingsOf(j))
	}
	out.Differences, out.Same = differences(told)
	return c.JSON(http.StatusOK, out)
}

// compared is a job with what it worked on and what came of it.
func (s *Server) compared(ctx ctx, j *store.Job, points int) (apigen.ComparedJob, error) {
	view := apigen.ComparedJob{ID: j.ID, ProjectID: j.ProjectID, Name: j.Name, Status: apigen.Status(j.Status), DatasetID: j.DatasetID, ModelID: j.ModelID,
		TunedModelID: j.TunedModelID, Step: j.Step, TotalSteps: j.TotalSteps, FinalLoss: value(j.Loss), EvalLoss: value(j.EvalLoss), BestEvalLoss: value(j.BestEvalLoss),
		TokensPerSecond: value(j.TokensPerSecond), PeakMemoryBytes: value(j.MemoryBytes), Launches: contract.Launches(j.Epoch), Device: j.Device, Precision: j.Precision,
		Worker: j.Worker, CreatedAt: j.CreatedAt, StartedAt: j.StartedAt, CompletedAt: j.CompletedAt,
		WaitedSeconds: between(j.CreatedAt, j.StartedAt), DurationSeconds: between(j.StartedAt, j.CompletedAt)}
	addTotals(&view, j.Metrics)
	if err := s.addInputs(ctx, &view); err != nil {
		return view, err
	}
	curves, err := s.Store.Metrics(ctx, j.ID, points)
	if err != nil {
		return view, err
	}
	view.Points = viewCurves(curves).Points
	return view, s.addEvaluation(ctx, &view)
}

// between is how many seconds lie between two times, 0 if one has not come.
func between(from, to time.Time) float64 {
	if from.IsZero() || to.Before(from) {
		return 0
	}
	return to.Sub(from).Seconds()
}

// addTotals adds what the runner told at the end.
func addTotals(view *apigen.ComparedJob, metrics json.RawMessage) {
	var totals struct {
		MeanLoss        float64 `json:"mean_loss"`
		Tokens          int64   `json:"tokens"`
		Seconds         float64 `json:"seconds"`
		TokensPerSecond float64 `json:"tokens_per_second"`
	}
	if len(metrics) == 0 || json.Unmarshal(metrics, &totals) != nil {
		return
	}
	view.MeanLoss, view.Tokens, view.TrainingSeconds, view.TokensPerSecond = totals.MeanLoss, totals.Tokens, totals.Seconds, totals.TokensPerSecond
}

// addInputs names dataset and model; what was deleted since has no name.
func (s *Server) addInputs(ctx ctx, view *apigen.ComparedJob) error {
	d, err := s.Store.GetDataset(ctx, view.DatasetID)
	if err == nil {
		view.DatasetName, view.TrainRows, view.EvalRows = d.Name, d.TrainRows, d.EvalRows
	} else if contract.CodeOf(err) != contract.CodeNotFound {
		return err
	}
	m, err := s.Store.GetModel(ctx, view.ModelID)
	if err == nil {
		view.ModelName = m.Name
	} else if contract.CodeOf(err) != contract.CodeNotFound {
		return err
	}
	return nil
}

func (s *Server) addEvaluation(ctx ctx, view *apigen.ComparedJob) error {
	if view.TunedModelID == "" {
		return nil
	}
	page, err := s.Store.ListEvaluations(ctx, store.Filter{ModelID: view.TunedModelID, Status: []contract.Status{contract.StatusCompleted}, Limit: 1})
	if err != nil || len(page.Items) == 0 || page.Items[0].Metrics == nil {
		return err
	}
	e, r := page.Items[0], page.Items[0].Metrics
	view.Evaluation = apigen.ComparedEvaluation{ID: e.ID, DatasetID: e.DatasetID, Rows: r.Rows, LossBase: r.LossBase, LossTuned: r.LossTuned, LossDelta: r.LossDelta,
		LossDeltaCi: r.LossDeltaCI[:], Verdict: string(r.Verdict), VerdictText: r.VerdictText}
	return nil
}

// settingsOf is what a job was told, by field; of an object within, "lora.r".
func settingsOf(j *store.Job) map[string]any {
	told := map[string]any{"dataset_id": j.DatasetID, "model_id": j.ModelID, "queue": j.Queue}
	data, err := json.Marshal(j.Config)
	if err != nil {
		return told
	}
	flatten(told, "", object(data))
	return told
}

func flatten(into map[string]any, prefix string, from map[string]any) {
	for name, value := range from {
		if inner, ok := value.(map[string]any); ok {
			flatten(into, prefix+name+".", inner)
			continue
		}
		into[prefix+name] = value
	}
}

// differences sorts fields into those that differ and those that do not. A field that one run lacks has its zero value.
func differences(told []map[string]any) (differ []apigen.SettingDifference, same []apigen.SharedSetting) {
	fields := map[string]bool{}
	for _, t := range told {
		for field := range t {
			fields[field] = true
		}
	}
	differ, same = []apigen.SettingDifference{}, []apigen.SharedSetting{}
	for _, field := range slices.Sorted(maps.Keys(fields)) {
		values, alike := make([]any, len(told)), true
		for i, t := range told {
			values[i] = t[field]
			alike = alike && reflect.DeepEqual(values[i], values[0])
		}
		if alike {
			same = append(same, apigen.SharedSetting{Field: field, Value: values[0]})
		} else {
			differ = append(differ, apigen.SettingDifference{Field: field, Values: values})
		}
	}
	return differ, same
}
