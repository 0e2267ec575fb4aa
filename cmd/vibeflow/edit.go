package main

import (
	"errors"
	"io"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/internal/apiclient"
)

// editCommand is `edit ID` of a kind; T is what comes of it.
func editCommand[T any](a *app, what, path string, text func(io.Writer, T)) *cobra.Command {
	var name, notes string
	var tags []string
	cmd := &cobra.Command{
		Use: "edit ID", Short: "Change the name, the notes or the tags", Args: oneArg(what),
		RunE: func(cmd *cobra.Command, args []string) error {
			edit := apigen.Edit{}
			if cmd.Flags().Changed("name") {
				edit.Name = &name
			}
			if cmd.Flags().Changed("notes") {
				edit.Notes = &notes
			}
			if cmd.Flags().Changed("tag") {
				all := tagsOf(tags)
				edit.Tags = &all
			}
			if edit == (apigen.Edit{}) {
				return usage(cmd, errors.New("say what to change: --name, --notes or --tag"))
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			changed, err := apiclient.Patch[T](cmd.Context(), c, path+url.PathEscape(args[0]), edit)
			if err != nil {
				return err
			}
			return a.print(changed, func(w io.Writer) { text(w, changed) })
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "the new name")
	cmd.Flags().StringVar(&notes, "notes", "", "the new notes ('' for none)")
	cmd.Flags().StringArrayVar(&tags, "tag", nil, "all the tags, one a flag (one '' for none)")
	return cmd
}

// tagsOf are the flags' tags; an empty one is how none are written.
func tagsOf(flags []string) []string {
	tags := []string{}
	for _, tag := range flags {
		if tag != "" {
			tags = append(tags, tag)
		}
	}
	return tags
}

// labels are the lines of what people say of a resource.
func labels(known func(is bool, name, value string), notes string, tags []string) {
	known(len(tags) > 0, "tags", strings.Join(tags, ", "))
	known(notes != "", "notes", notes)
}
