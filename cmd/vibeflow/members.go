package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/apiclient"
)

func membersPath(projectID string) string {
	return "/api/projects/" + url.PathEscape(projectID) + "/members"
}

func (a *app) projectsMembers() *cobra.Command {
	return &cobra.Command{
		Use: "members PROJECT", Short: "Who has a part in a project", Args: oneArg("project"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, p, err := a.project(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			members, err := apiclient.Get[apigen.MemberList](cmd.Context(), c, membersPath(p.ID), nil)
			if err != nil {
				return err
			}
			return a.print(members, func(w io.Writer) {
				t := table(w)
				row(t, "EMAIL", "NAME", "ROLE", "SINCE")
				for _, m := range members.Items {
					row(t, m.Email, m.Name, m.Role, when(m.AddedAt))
				}
				_ = t.Flush()
			})
		},
	}
}

func (a *app) projectsShare() *cobra.Command {
	var role string
	cmd := &cobra.Command{
		Use: "share PROJECT EMAIL", Short: "Give somebody who has an account a part in a project, or another role", Args: projectAndEmail,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, p, err := a.project(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			m, err := share(cmd.Context(), c, p.ID, args[1], apigen.ProjectRole(role))
			if err != nil {
				return err
			}
			return a.print(m, func(w io.Writer) { _, _ = fmt.Fprintf(w, "%s is %s of %s\n", m.Email, m.Role, p.Name) })
		},
	}
	cmd.Flags().StringVar(&role, "role", contract.ProjectViewer, "viewer (sees and asks), editor (also starts and changes things) or owner (also decides about the project)")
	return cmd
}

// share adds a member; of one who has a part in the project already it changes the role.
func share(ctx context.Context, c *apiclient.Client, projectID, email string, role apigen.ProjectRole) (apigen.Member, error) {
	m, err := apiclient.Post[apigen.Member](ctx, c, membersPath(projectID), apigen.AddMember{Email: email, Role: role})
	if contract.CodeOf(err) != contract.CodeConflict {
		return m, err
	}
	there, lookup := findMember(ctx, c, projectID, email)
	if lookup != nil {
		return m, err
	}
	return apiclient.Patch[apigen.Member](ctx, c, membersPath(projectID)+"/"+url.PathEscape(there.UserID), apigen.UpdateMember{Role: role})
}

func findMember(ctx context.Context, c *apiclient.Client, projectID, email string) (apigen.Member, error) {
	members, err := apiclient.Get[apigen.MemberList](ctx, c, membersPath(projectID), nil)
	if err != nil {
		return apigen.Member{}, err
	}
	for _, m := range members.Items {
		if strings.EqualFold(m.Email, email) {
			return m, nil
		}
	}
	return apigen.Member{}, contract.Errorf(contract.CodeNotFound, "%s has no part in the project", email).Mend("see `vibeflow projects members %s`", projectID)
}

func (a *app) projectsUnshare() *cobra.Command {
	return &cobra.Command{
		Use: "unshare PROJECT EMAIL", Short: "End somebody's part in a project", Args: projectAndEmail,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, p, err := a.project(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			m, err := findMember(cmd.Context(), c, p.ID, args[1])
			if err != nil {
				return err
			}
			return removeMember(cmd.Context(), c, p.ID, m.UserID)
		},
	}
}

func (a *app) projectsLeave() *cobra.Command {
	return &cobra.Command{
		Use: "leave PROJECT", Short: "End your own part in a project", Args: oneArg("project"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, p, err := a.project(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			me, err := apiclient.Get[apigen.Me](cmd.Context(), c, "/api/me", nil)
			if err != nil {
				return err
			}
			return removeMember(cmd.Context(), c, p.ID, me.User.ID)
		},
	}
}

func removeMember(ctx context.Context, c *apiclient.Client, projectID, userID string) error {
	_, err := apiclient.Delete[struct{}](ctx, c, membersPath(projectID)+"/"+url.PathEscape(userID))
	return err
}

func projectAndEmail(cmd *cobra.Command, args []string) error {
	if len(args) == 2 {
		return nil
	}
	return contract.Errorf(contract.CodeInvalid, "give a project and an e-mail address").Mend("usage: %s", cmd.UseLine())
}
