package main

import (
	"context"
	"io"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/internal/apiclient"
)

func (a *app) projectsActivity() *cobra.Command {
	var limit int
	var cursor string
	cmd := &cobra.Command{
		Use: "activity PROJECT", Short: "Who did what in a project, newest first", Args: oneArg("project"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, p, err := a.project(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			page, err := activityPage(cmd.Context(), c, p.ID, limit, cursor)
			if err != nil {
				return err
			}
			return a.print(page, func(w io.Writer) {
				t := table(w)
				for _, item := range page.Items {
					row(t, item.At.Local().Format(time.DateTime), item.Text, item.Detail)
				}
				_ = t.Flush()
			})
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 50, "most entries")
	cmd.Flags().StringVar(&cursor, "cursor", "", "next_cursor of the page before")
	return cmd
}

func activityPage(ctx context.Context, c *apiclient.Client, project string, limit int, cursor string) (apigen.ActivityPage, error) {
	query := url.Values{"limit": {strconv.Itoa(limit)}}
	if cursor != "" {
		query.Set("cursor", cursor)
	}
	return apiclient.Get[apigen.ActivityPage](ctx, c, "/api/projects/"+url.PathEscape(project)+"/activity", query)
}
