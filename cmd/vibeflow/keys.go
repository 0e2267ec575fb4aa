package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/internal/apiclient"
)

func scopesText(scopes []apigen.Scope) string {
	var words []string
	for _, scope := range scopes {
		words = append(words, string(scope))
	}
	return strings.Join(words, ", ")
}

func (a *app) keysCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "keys", Short: "API keys for /v1"}
	var scopes []string
	var days int
	create := &cobra.Command{
		Use: "create NAME", Short: "Make a key; it is shown once", Args: oneArg("name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			request := apigen.CreateKey{Name: strings.TrimSpace(args[0]), ProjectID: c.Project}
			for _, scope := range scopes {
				request.Scopes = append(request.Scopes, apigen.Scope(scope))
			}
			if days > 0 {
				request.ExpiresAt = time.Now().AddDate(0, 0, days)
			}
			k, err := apiclient.Post[apigen.CreatedKey](cmd.Context(), c, "/api/keys/generate", request)
			if err != nil {
				return err
			}
			return a.print(k, func(w io.Writer) { _, _ = fmt.Fprintln(w, k.Secret) })
		},
	}
	create.Flags().StringSliceVar(&scopes, "scope", nil, "what it may do in its project: inference (ask deployed models, the default), read, write")
	create.Flags().IntVar(&days, "days", 0, "days after which it ends (0: it does not)")
	list := &cobra.Command{
		Use: "list", Short: "List keys", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			page, err := apiclient.Get[apigen.KeyPage](cmd.Context(), c, "/api/keys", nil)
			if err != nil {
				return err
			}
			return a.print(page, func(w io.Writer) {
				t := table(w)
				row(t, "ID", "NAME", "KEY", "PROJECT", "SCOPES", "USED", "ENDS", "REVOKED")
				for _, k := range page.Items {
					row(t, k.ID, k.Name, k.Prefix+"…", k.ProjectID, scopesText(k.Scopes), k.UsageCount, when(k.ExpiresAt), !k.RevokedAt.IsZero())
				}
				_ = t.Flush()
			})
		},
	}
	revoke := &cobra.Command{
		Use: "revoke ID", Short: "Revoke a key at once", Args: oneArg("key id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			_, err = apiclient.Delete[struct{}](cmd.Context(), c, "/api/keys/"+url.PathEscape(args[0]))
			return err
		},
	}
	cmd.AddCommand(create, list, revoke, a.keysUsage())
	return cmd
}

func (a *app) keysUsage() *cobra.Command {
	var days int
	cmd := idCommand(a, "usage", "What a key was used for, by day and model", "key id", func(ctx context.Context, c *apiclient.Client, id string) (apigen.KeyAnalytics, error) {
		return apiclient.Get[apigen.KeyAnalytics](ctx, c, "/api/keys/"+url.PathEscape(id)+"/analytics", url.Values{"days": {strconv.Itoa(days)}})
	}, printUsage)
	cmd.Flags().IntVar(&days, "days", 30, "how many days, up to today (UTC; 366 at most)")
	return cmd
}

func printUsage(w io.Writer, u apigen.KeyAnalytics) {
	t := table(w)
	row(t, "DAY", "MODEL", "REQUESTS", "ERRORS", "CANCELLED", "PROMPT TOKENS", "ANSWER TOKENS", "P50", "P95")
	for _, d := range u.Days {
		for _, m := range d.Models {
			usageRow(t, d.Date.String(), cmp.Or(m.ModelID, "(none)"), m.Usage)
		}
	}
	for _, m := range u.Models {
		usageRow(t, "all", cmp.Or(m.ModelID, "(none)"), m.Usage)
	}
	usageRow(t, "all", "all", u.Total)
	_ = t.Flush()
	_, _ = fmt.Fprintf(w, "%d requests since the key was made, the last %s; %d under way\n", u.UsageCount, when(u.LastUsedAt), u.UnderWay)
}

func usageRow(t *tabwriter.Writer, day, model string, u apigen.Usage) {
	row(t, day, model, u.Requests, u.Errors, u.Cancelled, u.PromptTokens, u.CompletionTokens, latencyText(u.LatencyP50Ms), latencyText(u.LatencyP95Ms))
}

func latencyText(ms int64) string {
	if ms == 0 {
		return ""
	}
	return (time.Duration(ms) * time.Millisecond).String()
}
