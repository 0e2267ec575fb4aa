package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/apiclient"
	"github.com/vibeflow/vibeflow/internal/auth"
	"github.com/vibeflow/vibeflow/internal/login"
)

func (a *app) loginCommand() *cobra.Command {
	var email string
	cmd := &cobra.Command{
		Use: "login URL", Short: "Sign in to a server elsewhere; commands with --server URL then use that session",
		Args: oneArg("server URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			server, err := login.Server(args[0])
			if err != nil {
				return err
			}
			logins, err := login.Default()
			if err != nil {
				return err
			}
			request := apigen.Login{Email: email}
			input := bufio.NewReader(os.Stdin)
			if request.Email == "" {
				if request.Email, err = a.prompt("E-mail", input); err != nil {
					return err
				}
			}
			if request.Password, err = a.promptSecret("Password", input); err != nil {
				return err
			}
			signed, err := apiclient.Post[apigen.Session](cmd.Context(), &apiclient.Client{Base: server}, "/api/auth/login", request)
			if err != nil {
				return err
			}
			err = logins.Put(cmd.Context(), server, &login.Session{Email: signed.User.Email, Access: signed.AccessToken, Refresh: signed.RefreshToken, Expires: signed.ExpiresAt})
			if err != nil {
				return err
			}
			return a.print(signed.User, func(w io.Writer) { _, _ = fmt.Fprintf(w, "signed in to %s as %s\n", server, signed.User.Email) })
		},
	}
	cmd.Flags().StringVar(&email, "email", "", "account (else it is asked for)")
	return cmd
}

// prompt reads a line; on a terminal it says for what.
func (a *app) prompt(what string, input *bufio.Reader) (string, error) {
	if term.IsTerminal(int(os.Stdin.Fd())) {
		_, _ = fmt.Fprintf(a.err, "%s: ", what)
	}
	line, err := input.ReadString('\n')
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", contract.Errorf(contract.CodeInvalid, "there is no %s", strings.ToLower(what)).Mend("type it, or send it on stdin: the e-mail address unless --email names it, then the password, a line each")
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return line, err
}

// promptSecret reads a line that a terminal does not show.
func (a *app) promptSecret(what string, input *bufio.Reader) (string, error) {
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return a.prompt(what, input)
	}
	_, _ = fmt.Fprintf(a.err, "%s: ", what)
	secret, err := term.ReadPassword(int(os.Stdin.Fd()))
	_, _ = fmt.Fprintln(a.err)
	return string(secret), err
}

func (a *app) logoutCommand() *cobra.Command {
	return &cobra.Command{
		Use: "logout URL", Short: "Sign out of a server elsewhere", Args: oneArg("server URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			server, err := login.Server(args[0])
			if err != nil {
				return err
			}
			logins, err := login.Default()
			if err != nil {
				return err
			}
			session, ok, err := logins.Get(server)
			if err != nil {
				return err
			}
			if !ok {
				return contract.Errorf(contract.CodeNotFound, "you are not signed in to %s", server)
			}
			_, gone := apiclient.Post[struct{}](cmd.Context(), &apiclient.Client{Base: server}, "/api/auth/logout", apigen.Refresh{RefreshToken: session.Refresh})
			if err := logins.Put(cmd.Context(), server, nil); err != nil {
				return err
			}
			if gone != nil {
				a.note("the session is forgotten here, but the server could not be told: %v", gone)
			}
			return nil
		},
	}
}

func (a *app) usersCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "users", Short: "Accounts (owners only)"}
	var request apigen.CreateUser
	var role string
	add := &cobra.Command{
		Use: "add EMAIL", Short: "Make an account; prints a one-time link to choose its password", Args: oneArg("e-mail address"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			request.Email, request.Role = args[0], apigen.Role(role)
			made, err := apiclient.Post[apigen.Invitation](cmd.Context(), c, "/api/users", request)
			if err != nil {
				return err
			}
			return a.print(made, func(w io.Writer) { printLink(w, made.Link) })
		},
	}
	add.Flags().StringVar(&request.Name, "name", "", "name")
	add.Flags().StringVar(&role, "role", contract.RoleMember, "owner or member")
	cmd.AddCommand(
		listCommand(a, "List accounts", "/api/users", func(w io.Writer, page apigen.UserPage) {
			t := table(w)
			row(t, "ID", "EMAIL", "NAME", "ROLE", "STATE", "LAST SEEN")
			for _, u := range page.Items {
				row(t, u.ID, u.Email, u.Name, u.Role, userState(u), when(u.LastSeenAt))
			}
			_ = t.Flush()
		}), add,
		a.userCommand("reset EMAIL", "Print a one-time link by which somebody chooses a new password", func(ctx context.Context, c *apiclient.Client, id string) error {
			link, err := apiclient.Post[apigen.SignInLink](ctx, c, "/api/users/"+url.PathEscape(id)+"/reset", nil)
			if err != nil {
				return err
			}
			return a.print(link, func(w io.Writer) { printLink(w, link) })
		}),
		a.changeUser("disable EMAIL", "Keep somebody from signing in", func(u *apigen.UpdateUser) { yes := true; u.Disabled = &yes }),
		a.changeUser("enable EMAIL", "Let somebody sign in again", func(u *apigen.UpdateUser) { no := false; u.Disabled = &no }),
		a.changeUser("promote EMAIL", "Make somebody an owner", func(u *apigen.UpdateUser) { u.Role = contract.RoleOwner }),
		a.changeUser("demote EMAIL", "Make an owner a member", func(u *apigen.UpdateUser) { u.Role = contract.RoleMember }),
		a.userCommand("delete EMAIL", "Delete an account; its projects become yours", func(ctx context.Context, c *apiclient.Client, id string) error {
			_, err := apiclient.Delete[struct{}](ctx, c, "/api/users/"+url.PathEscape(id))
			return err
		}))
	return cmd
}

func printLink(w io.Writer, link apigen.SignInLink) {
	_, _ = fmt.Fprintf(w, "%s\nworks once, until %s\n", link.URL, link.ExpiresAt.Local().Format(time.DateTime))
}

func userState(u apigen.User) string {
	switch {
	case u.Disabled:
		return "disabled"
	case u.Invited:
		return "invited"
	default:
		return "active"
	}
}

func when(at time.Time) string {
	if at.IsZero() {
		return "never"
	}
	return at.Local().Format(time.DateTime)
}

// userCommand is a command that does something with an account, which is named by its e-mail address or id.
func (a *app) userCommand(use, short string, do func(context.Context, *apiclient.Client, string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: oneArg("e-mail address"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			id, err := userID(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			return do(cmd.Context(), c, id)
		},
	}
}

func userID(ctx context.Context, c *apiclient.Client, named string) (string, error) {
	if strings.HasPrefix(named, contract.PrefixUser) {
		return named, nil
	}
	page, err := apiclient.Get[apigen.UserPage](ctx, c, "/api/users", url.Values{"q": {named}, "limit": {"200"}})
	if err != nil {
		return "", err
	}
	for _, u := range page.Items {
		if strings.EqualFold(u.Email, named) {
			return u.ID, nil
		}
	}
	return "", contract.Errorf(contract.CodeNotFound, "there is no account for %s", named).Mend("vibeflow users list")
}

func (a *app) changeUser(use, short string, change func(*apigen.UpdateUser)) *cobra.Command {
	return a.userCommand(use, short, func(ctx context.Context, c *apiclient.Client, id string) error {
		var request apigen.UpdateUser
		change(&request)
		u, err := apiclient.Patch[apigen.User](ctx, c, "/api/users/"+url.PathEscape(id), request)
		if err != nil {
			return err
		}
		return a.print(u, func(w io.Writer) { _, _ = fmt.Fprintf(w, "%s is %s, %s\n", u.Email, u.Role, userState(u)) })
	})
}

func (a *app) projectsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "projects", Short: "Projects: what everything else belongs to"}
	cmd.AddCommand(a.projectsList(), a.projectsCreate(), a.projectsEdit(), a.projectsDelete(), a.projectsActivity(), a.projectsMembers(), a.projectsShare(), a.projectsUnshare(), a.projectsLeave(),
		a.projectCommand("get PROJECT", "Show one, and what it holds", "", printProject),
		a.projectCommand("archive PROJECT", "Nothing new starts in it", "archive", printProject),
		a.projectCommand("unarchive PROJECT", "Take it out of the archive", "unarchive", printProject),
		a.projectCommand("restore PROJECT", "Undo its deletion", "restore", printProject))
	return cmd
}

func (a *app) projectsList() *cobra.Command {
	var status string
	cmd := listCommandWith(a, "List projects", "/api/projects", func(query url.Values) {
		if status != "" {
			query.Set("status", status)
		}
	}, func(w io.Writer, page apigen.ProjectPage) {
		t := table(w)
		row(t, "ID", "NAME", "STATUS", "GOAL", "CHANGED")
		for _, p := range page.Items {
			row(t, p.ID, p.Name, p.Status, p.Goal, when(p.UpdatedAt))
		}
		_ = t.Flush()
	})
	cmd.Flags().StringVar(&status, "status", "", "active, archived or deleted (default: active and archived)")
	return cmd
}

func (a *app) projectsCreate() *cobra.Command {
	var request apigen.ProjectInput
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Make a project", Args: oneArg("name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			request.Name = args[0]
			p, err := apiclient.Post[apigen.Project](cmd.Context(), c, "/api/projects", request)
			if err != nil {
				return err
			}
			return a.print(p, func(w io.Writer) { _, _ = fmt.Fprintln(w, p.ID) })
		},
	}
	cmd.Flags().StringVar(&request.Description, "description", "", "what it is about")
	cmd.Flags().StringVar(&request.Goal, "goal", "", "what it is to achieve")
	return cmd
}

func (a *app) projectsEdit() *cobra.Command {
	var name, description, goal string
	cmd := &cobra.Command{
		Use: "edit PROJECT", Short: "Change name, description or goal", Args: oneArg("project"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, p, err := a.project(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			request := apigen.ProjectInput{Name: cmp.Or(name, p.Name), Description: p.Description, Goal: p.Goal}
			if cmd.Flags().Changed("description") {
				request.Description = description
			}
			if cmd.Flags().Changed("goal") {
				request.Goal = goal
			}
			p, err = apiclient.Put[apigen.Project](cmd.Context(), c, "/api/projects/"+url.PathEscape(p.ID), "*", request)
			if err != nil {
				return err
			}
			return a.print(p, func(w io.Writer) { printProject(w, p) })
		},
	}
	cmd.Flags().StringVar(&name, "name", "", "its name")
	cmd.Flags().StringVar(&description, "description", "", "what it is about")
	cmd.Flags().StringVar(&goal, "goal", "", "what it is to achieve")
	return cmd
}

func (a *app) projectsDelete() *cobra.Command {
	var permanent bool
	var confirm string
	cmd := &cobra.Command{
		Use: "delete PROJECT", Short: "Delete a project with all that it holds; it can be restored for two weeks", Args: oneArg("project"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, p, err := a.project(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			a.note("%s holds %s", p.Name, contentsText(p.Contents))
			query := url.Values{}
			if permanent {
				if confirm == "" {
					if confirm, err = a.prompt("Type the project's name to delete it for good", bufio.NewReader(os.Stdin)); err != nil {
						return err
					}
				}
				query = url.Values{"permanent": {"true"}, "confirm": {confirm}}
			}
			gone, err := apiclient.DeleteWith[apigen.Project](cmd.Context(), c, "/api/projects/"+url.PathEscape(p.ID), query)
			if err != nil || permanent {
				return err
			}
			return a.print(gone, func(w io.Writer) {
				_, _ = fmt.Fprintf(w, "deleted; until %s: vibeflow projects restore %s\n", when(gone.PurgeAt), gone.ID)
			})
		},
	}
	cmd.Flags().BoolVar(&permanent, "permanent", false, "without a way back")
	cmd.Flags().StringVar(&confirm, "confirm", "", "the project's name, instead of typing it")
	return cmd
}

func contentsText(c apigen.ProjectContents) string {
	var parts []string
	for _, held := range []struct {
		n    int
		what string
	}{{c.Datasets, "datasets"}, {c.Models, "models"}, {c.Jobs, "training jobs"}, {c.Evaluations, "evaluations"}, {c.Deployments, "deployments"},
		{c.Exports, "exports"}, {c.Pipelines, "pipelines"}, {c.Keys, "keys"}} {
		switch held.n {
		case 0:
		case 1:
			parts = append(parts, "1 "+strings.TrimSuffix(held.what, "s"))
		default:
			parts = append(parts, fmt.Sprintf("%d %s", held.n, held.what))
		}
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, ", ") + " (" + humanize.IBytes(uint64(c.Bytes)) + " of files)"
}

func printProject(w io.Writer, p apigen.Project) {
	t := table(w)
	row(t, "id", p.ID)
	row(t, "name", p.Name)
	row(t, "status", p.Status)
	row(t, "description", p.Description)
	row(t, "goal", p.Goal)
	row(t, "holds", contentsText(p.Contents))
	if !p.PurgeAt.IsZero() {
		row(t, "goes for good", when(p.PurgeAt))
	}
	_ = t.Flush()
}

// projectCommand is a command on one project; without a verb it only shows it.
func (a *app) projectCommand(use, short, verb string, text func(io.Writer, apigen.Project)) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: oneArg("project"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, p, err := a.project(cmd.Context(), args[0])
			if err == nil && verb != "" {
				p, err = apiclient.Post[apigen.Project](cmd.Context(), c, "/api/projects/"+url.PathEscape(p.ID)+"/"+verb, nil)
			}
			if err != nil {
				return err
			}
			return a.print(p, func(w io.Writer) { text(w, p) })
		},
	}
}

// project finds a project by its id or name.
func (a *app) project(ctx context.Context, named string) (*apiclient.Client, apigen.Project, error) {
	c, err := a.client()
	if err != nil {
		return nil, apigen.Project{}, err
	}
	c.Project = "" // the one that is named, not the one that is chosen
	id, err := projectID(ctx, c, named)
	if err != nil {
		return nil, apigen.Project{}, err
	}
	p, err := apiclient.Get[apigen.Project](ctx, c, "/api/projects/"+url.PathEscape(id), nil)
	return c, p, err
}

func projectID(ctx context.Context, c *apiclient.Client, named string) (string, error) {
	if strings.HasPrefix(named, contract.PrefixProject) {
		return named, nil
	}
	var found []string
	for _, status := range []string{"", "deleted"} {
		query := url.Values{"q": {named}, "limit": {"200"}}
		if status != "" {
			query.Set("status", status)
		}
		page, err := apiclient.Get[apigen.ProjectPage](ctx, c, "/api/projects", query)
		if err != nil {
			return "", err
		}
		for _, p := range page.Items {
			if p.Name == named {
				found = append(found, p.ID)
			}
		}
		if len(found) > 0 {
			break
		}
	}
	switch len(found) {
	case 0:
		return "", contract.Errorf(contract.CodeNotFound, "there is no project %q", named).On("project").Mend("vibeflow projects list")
	case 1:
		return found[0], nil
	default:
		return "", contract.Errorf(contract.CodeConflict, "%d projects are called %q", len(found), named).On("project").Mend("name one by its id: %s", strings.Join(found, ", "))
	}
}

func (a *app) settingsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "settings", Short: "Your settings, and for an owner those of the installation"}
	list := &cobra.Command{
		Use: "list", Short: "List what can be set; secrets are not shown", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			all, err := apiclient.Get[apigen.SettingList](cmd.Context(), c, "/api/settings", nil)
			if err != nil {
				return err
			}
			return a.print(all, func(w io.Writer) {
				t := table(w)
				row(t, "NAME", "LEVEL", "VALUE", "WHAT")
				for _, s := range all.Items {
					row(t, s.Name, s.Level, settingValue(s), s.Description)
				}
				_ = t.Flush()
			})
		},
	}
	var system bool
	set := &cobra.Command{
		Use: "set NAME", Short: "Set a value, which is asked for, or read from stdin", Args: oneArg("setting"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			value, err := a.promptSecret("Value", bufio.NewReader(os.Stdin))
			if err != nil {
				return err
			}
			s, err := apiclient.PutWith[apigen.Setting](cmd.Context(), c, "/api/settings/"+url.PathEscape(args[0]), levelQuery(system), apigen.PutSetting{Value: value})
			if err != nil {
				return err
			}
			return a.print(s, func(w io.Writer) { _, _ = fmt.Fprintf(w, "%s (%s): %s\n", s.Name, s.Level, settingValue(s)) })
		},
	}
	unset := &cobra.Command{
		Use: "unset NAME", Short: "Forget a value", Args: oneArg("setting"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			_, err = apiclient.DeleteWith[struct{}](cmd.Context(), c, "/api/settings/"+url.PathEscape(args[0]), levelQuery(system))
			return err
		},
	}
	for _, sub := range []*cobra.Command{set, unset} {
		sub.Flags().BoolVar(&system, "system", false, "for the whole installation (owners only)")
	}
	cmd.AddCommand(list, set, unset)
	return cmd
}

func levelQuery(system bool) url.Values {
	if system {
		return url.Values{"level": {"system"}}
	}
	return nil
}

func settingValue(s apigen.Setting) string {
	switch {
	case !s.Set:
		return "not set"
	case s.Secret:
		return "set"
	default:
		return s.Value
	}
}

// actorText says who asked: by name, and without one as what they signed in with tells.
func actorText(actor apigen.AuditActor) string {
	switch {
	case actor.Name != "":
		return actor.Name
	case actor.Kind == apigen.AuditActorKind(auth.ByNobody):
		return "somebody"
	default:
		return "the machine's owner"
	}
}

func (a *app) auditCommand() *cobra.Command {
	var actor, action, outcome string
	cmd := listCommandWith(a, "Who did what, newest first (owners only)", "/api/audit", func(query url.Values) {
		for name, value := range map[string]string{"actor_id": actor, "action": action, "outcome": outcome} {
			if value != "" {
				query.Set(name, value)
			}
		}
	}, func(w io.Writer, page apigen.AuditPage) {
		t := table(w)
		row(t, "AT", "WHO", "WHAT", "ON", "FROM", "STATUS", "ACTION")
		for _, e := range page.Items {
			row(t, e.At.Local().Format(time.DateTime), actorText(e.Actor), e.Text, cmp.Or(e.ResourceName, e.Resource), e.Address, e.Status, e.Action)
		}
		_ = t.Flush()
	})
	cmd.Use = "audit"
	cmd.Flags().StringVar(&actor, "actor", "", "only this user's or key's id")
	cmd.Flags().StringVar(&action, "action", "", "only this operation, as the column ACTION names it")
	cmd.Flags().StringVar(&outcome, "outcome", "", "done or refused")
	return cmd
}
