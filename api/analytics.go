package api

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/labstack/echo/v5"
	"github.com/oapi-codegen/runtime/types"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/store"
)

const (
	day                   = 24 * time.Hour
	defaultUsageDays      = 30
	maxUsageDays          = 366
	firstUsage, lastUsage = 2000, 9999
)

// GetKeyAnalytics tells what a key was used for.
func (s *Server) GetKeyAnalytics(c *echo.Context, id string, p apigen.GetKeyAnalyticsParams) error {
	from, to, err := usageRange(p, time.Now())
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	s.meter.flush(ctx) // so that the sums are of this moment
	key, usage, underWay, err := s.Store.UsageOfKey(ctx, id, from, to)
	if err != nil {
		return err
	}
	view := apigen.KeyAnalytics{KeyID: key.ID, From: types.Date{Time: from}, To: types.Date{Time: to},
		UsageCount: key.UsageCount, LastUsedAt: key.LastUsedAt, UnderWay: underWay}
	view.Total, view.Days, view.Models = usageByDay(usage, from, to)
	return c.JSON(http.StatusOK, view)
}

// usageRange is the days that are asked for, each at midnight UTC.
func usageRange(p apigen.GetKeyAnalyticsParams, now time.Time) (from, to time.Time, err error) {
	to = p.To.Time
	if to.IsZero() {
		to = now
	}
	to = to.UTC().Truncate(day)
	from = p.From.UTC().Truncate(day)
	if p.From.IsZero() {
		from = to.Add(-time.Duration(cmp.Or(p.Days, defaultUsageDays)-1) * day)
	}
	switch {
	case from.Year() < firstUsage || to.Year() > lastUsage:
		return from, to, contract.Errorf(contract.CodeInvalid, "no day of that year has usage").On("from").Mend("name days of the last year")
	case from.After(to):
		return from, to, contract.Errorf(contract.CodeInvalid, "the range ends before it begins").On("from").Mend("name a day up to %s", to.Format(time.DateOnly))
	case to.Sub(from) >= maxUsageDays*day:
		return from, to, contract.Errorf(contract.CodeInvalid, "the range has more than %d days", maxUsageDays).On("from").Mend("ask for less at once")
	default:
		return from, to, nil
	}
}

// usageByDay adds up cells, which are in the order of their days.
func usageByDay(cells []store.KeyUsage, from, to time.Time) (total apigen.Usage, days []apigen.DayUsage, models []apigen.ModelUsage) {
	var whole store.UsageSum
	byModel := map[string]*store.UsageSum{}
	for at := from; !at.After(to); at = at.Add(day) {
		var sum store.UsageSum
		view := apigen.DayUsage{Date: types.Date{Time: at}, Models: []apigen.ModelUsage{}}
		for ; len(cells) > 0 && cells[0].Day == at.Format(time.DateOnly); cells = cells[1:] {
			cell := cells[0]
			sum.Add(cell.UsageSum)
			if byModel[cell.ModelID] == nil {
				byModel[cell.ModelID] = &store.UsageSum{}
			}
			byModel[cell.ModelID].Add(cell.UsageSum)
			view.Models = append(view.Models, apigen.ModelUsage{ModelID: cell.ModelID, Usage: viewUsage(cell.UsageSum)})
		}
		whole.Add(sum)
		view.Usage = viewUsage(sum)
		days = append(days, view)
	}
	models = []apigen.ModelUsage{}
	for _, model := range slices.Sorted(maps.Keys(byModel)) {
		models = append(models, apigen.ModelUsage{ModelID: model, Usage: viewUsage(*byModel[model])})
	}
	slices.SortStableFunc(models, func(a, b apigen.ModelUsage) int { return cmp.Compare(b.Usage.Requests, a.Usage.Requests) })
	return viewUsage(whole), days, models
}

func viewUsage(u store.UsageSum) apigen.Usage {
	view := apigen.Usage{Requests: u.Requests, Errors: u.Errors, Cancelled: u.Cancelled, Interrupted: u.Interrupted,
		PromptTokens: u.PromptTokens, CompletionTokens: u.CompletionTokens}
	if u.Latency.Count() > 0 {
		view.LatencyP50Ms, view.LatencyP95Ms = max(1, u.Latency.Quantile(.5)), max(1, u.Latency.Quantile(.95))
	}
	return view
}
