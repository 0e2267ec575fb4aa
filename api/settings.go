package api

import (
	"context"
	"net/http"
	"regexp"
	"slices"

	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/auth"
	"github.com/vibeflow/vibeflow/internal/store"
)

// setting is one that there is: where it may be set, and what it may be.
type setting struct {
	name, description string
	levels            []apigen.SettingLevel
	secret            bool
	choices           []string
	pattern           *regexp.Regexp
}

const (
	levelUser   apigen.SettingLevel = "user"
	levelSystem apigen.SettingLevel = "system"
)

// The values of the setting that says whether anybody may register.
const (
	settingSignup = "signup"
	signupOpen    = "open"
	signupClosed  = "closed"
)

var settings = []setting{
	{name: store.SettingHubToken, levels: []apigen.SettingLevel{levelUser, levelSystem}, secret: true, pattern: regexp.MustCompile(`^[\x21-\x7e]{8,200}$`),
		description: "A token of the Hugging Face Hub, for gated models. One's own, else the installation's, goes to the worker that runs a job of one's projects."},
	{name: settingSignup, levels: []apigen.SettingLevel{levelSystem}, choices: []string{signupOpen, signupClosed},
		description: "Whether anybody may make an account. Not set: open on this machine, closed where others can reach the server."},
}

// signup is whether anybody may register: as an owner has set it, else where only this machine's users can ask.
func (s *Server) signup(ctx context.Context) (string, error) {
	set, err := s.Store.GetSetting(ctx, "", settingSignup)
	if err != nil {
		return signupClosed, err
	}
	switch {
	case set != nil:
		return string(set.Value), nil
	case s.Exposed:
		return signupClosed, nil
	default:
		return signupOpen, nil
	}
}

// ListSettings lists the caller's own settings, and for an owner those of the installation.
func (s *Server) ListSettings(c *echo.Context) error {
	ctx := c.Request().Context()
	list := apigen.SettingList{Items: []apigen.Setting{}}
	for _, known := range settings {
		for _, level := range known.levels {
			owner, err := settingOwner(ctx, level)
			if err != nil {
				continue // not this caller's
			}
			view, err := s.viewSetting(ctx, known, level, owner)
			if err != nil {
				return err
			}
			list.Items = append(list.Items, view)
		}
	}
	return c.JSON(http.StatusOK, list)
}

func (s *Server) viewSetting(ctx ctx, known setting, level apigen.SettingLevel, owner string) (apigen.Setting, error) {
	view := apigen.Setting{Name: known.name, Level: level, Description: known.description, Secret: known.secret, Choices: known.choices}
	set, err := s.Store.GetSetting(ctx, owner, known.name)
	if err != nil || set == nil {
		return view, err
	}
	view.Set, view.UpdatedAt = true, set.UpdatedAt
	if !known.secret {
		view.Value = string(set.Value)
	}
	return view, nil
}

// settingOwner is whose setting a level means to the caller; the installation's are the owner's to see and to set.
func settingOwner(ctx ctx, level apigen.SettingLevel) (string, error) {
	who := auth.PrincipalOf(ctx)
	switch {
	case level == levelSystem && !who.Owner():
		return "", forbidden(who, accessOwner)
	case level == levelSystem:
		return "", nil
	case who.UserID == "":
		return "", contract.Errorf(contract.CodeConflict, "you have no account to keep it with").On("level").Mend("set it for the whole installation: level=system")
	default:
		return who.UserID, nil
	}
}

// chosenSetting is the setting that a request names, and whose it is to be.
func chosenSetting(ctx ctx, name string, level apigen.SettingLevel) (known setting, at apigen.SettingLevel, owner string, err error) {
	i := slices.IndexFunc(settings, func(s setting) bool { return s.name == name })
	if i < 0 {
		return known, level, "", contract.Errorf(contract.CodeNotFound, "there is no setting %q", name).On("name").Mend("GET /api/settings lists them")
	}
	known = settings[i]
	if level == "" {
		level = known.levels[0]
	}
	if level == levelUser && auth.PrincipalOf(ctx).UserID == "" && slices.Contains(known.levels, levelSystem) {
		level = levelSystem // the machine's owner, who has no account yet
	}
	if !slices.Contains(known.levels, level) {
		return known, level, "", contract.Errorf(contract.CodeInvalid, "%s cannot be set for the level %q", name, level).On("level")
	}
	owner, err = settingOwner(ctx, level)
	return known, level, owner, err
}

// PutSetting sets.
func (s *Server) PutSetting(c *echo.Context, name string, p apigen.PutSettingParams) error {
	request, err := body[apigen.PutSetting](c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	known, level, owner, err := chosenSetting(ctx, name, p.Level)
	if err != nil {
		return err
	}
	if len(known.choices) > 0 && !slices.Contains(known.choices, request.Value) {
		return contract.Errorf(contract.CodeInvalid, "%s cannot be %q", name, request.Value).On("value").Mend("choose one of %q", known.choices)
	}
	if known.pattern != nil && !known.pattern.MatchString(request.Value) {
		return contract.Errorf(contract.CodeInvalid, "that is not a value that %s can have", name).On("value").Mend("copy it again, without spaces")
	}
	if err := s.Store.PutSetting(ctx, store.Setting{Owner: owner, Name: name, Value: []byte(request.Value)}); err != nil {
		return err
	}
	view, err := s.viewSetting(ctx, known, level, owner)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, view)
}

// DeleteSetting forgets.
func (s *Server) DeleteSetting(c *echo.Context, name string, p apigen.DeleteSettingParams) error {
	ctx := c.Request().Context()
	_, _, owner, err := chosenSetting(ctx, name, p.Level)
	if err != nil {
		return err
	}
	if err := s.Store.DeleteSetting(ctx, owner, name); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}
