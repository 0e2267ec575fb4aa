package api

import (
	"cmp"
	"net/http"
	"time"

	"github.com/labstack/echo/v5"

	"github.com/vibeflow/vibeflow/api/apigen"
	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/account"
	"github.com/vibeflow/vibeflow/internal/auth"
	"github.com/vibeflow/vibeflow/internal/store"
)

const (
	accessCookie  = "vibeflow_access"
	refreshCookie = "vibeflow_refresh"
	// refreshPath is all that the browser sends the refresh token to.
	refreshPath = "/api/auth"
)

// GetAuthStatus says how one signs in here.
func (s *Server) GetAuthStatus(c *echo.Context) error {
	ctx := c.Request().Context()
	owner, err := s.Store.FirstOwner(ctx)
	if err != nil {
		return err
	}
	signup, err := s.signup(ctx)
	if err != nil {
		return err
	}
	if owner == nil {
		signup = signupClosed
	}
	return c.JSON(http.StatusOK, apigen.AuthStatus{SignedIn: auth.PrincipalOf(ctx).Person(), NeedsOwner: owner == nil, Signup: apigen.AuthStatusSignup(signup)})
}

// Register makes an account and signs in.
func (s *Server) Register(c *echo.Context) error {
	request, err := body[apigen.Register](c)
	if err != nil {
		return err
	}
	aboutEmail(c, request.Email)
	ctx := c.Request().Context()
	first, err := s.mayRegister(ctx)
	if err != nil {
		return err
	}
	signed, err := s.accounts.Register(ctx, account.Registration{Email: request.Email, Password: request.Password, Name: request.Name, First: first, Device: device(c)})
	if err != nil {
		return err
	}
	return s.signedIn(c, http.StatusCreated, signed, request.Cookie)
}

// mayRegister reports whether the account to be made is the owner's, and refuses those who may not make one.
func (s *Server) mayRegister(ctx ctx) (first bool, err error) {
	owner, err := s.Store.FirstOwner(ctx)
	if err != nil {
		return false, err
	}
	if auth.PrincipalOf(ctx).Owner() {
		return owner == nil, nil
	}
	if owner == nil {
		return false, contract.Errorf(contract.CodeForbidden, "this VibeFlow has no owner yet").
			Mend("open the link that `vibeflow up` has printed (`vibeflow open` makes another), and sign up there")
	}
	signup, err := s.signup(ctx)
	if err == nil && signup != signupOpen {
		err = contract.Errorf(contract.CodeForbidden, "sign-up is closed").Mend("ask an owner for an invitation")
	}
	return false, err
}

// Login signs in by password.
func (s *Server) Login(c *echo.Context) error {
	request, err := body[apigen.Login](c)
	if err != nil {
		return err
	}
	aboutEmail(c, request.Email)
	signed, err := s.accounts.Login(c.Request().Context(), request.Email, request.Password, device(c))
	if err != nil {
		return err
	}
	return s.signedIn(c, http.StatusOK, signed, request.Cookie)
}

// RedeemLink signs in by a one-time link.
func (s *Server) RedeemLink(c *echo.Context) error {
	request, err := body[apigen.Redeem](c)
	if err != nil {
		return err
	}
	signed, err := s.accounts.Redeem(c.Request().Context(), request.Code, device(c))
	if err != nil {
		return err
	}
	return s.signedIn(c, http.StatusOK, signed, request.Cookie)
}

// ResetPassword chooses a password by a one-time link.
func (s *Server) ResetPassword(c *echo.Context) error {
	request, err := body[apigen.ResetPassword](c)
	if err != nil {
		return err
	}
	signed, err := s.accounts.Reset(c.Request().Context(), request.Code, request.Password, device(c))
	if err != nil {
		return err
	}
	return s.signedIn(c, http.StatusOK, signed, request.Cookie)
}

// RefreshSession exchanges a refresh token: the body's, else the cookie's, which is answered by cookies.
func (s *Server) RefreshSession(c *echo.Context) error {
	request, err := body[apigen.Refresh](c)
	if err != nil {
		return err
	}
	token, byCookie := refreshOf(c, request)
	if token == "" {
		return contract.Errorf(contract.CodeUnauthenticated, "there is no refresh token in the request").On("refresh_token").Mend("sign in")
	}
	signed, err := s.accounts.Refresh(c.Request().Context(), token, device(c))
	if err != nil {
		if byCookie && contract.CodeOf(err) == contract.CodeUnauthenticated {
			s.forget(c)
		}
		return err
	}
	return s.signedIn(c, http.StatusOK, signed, byCookie || request.Cookie)
}

func refreshOf(c *echo.Context, request apigen.Refresh) (token string, byCookie bool) {
	if request.RefreshToken != "" {
		return request.RefreshToken, false
	}
	cookie, err := c.Cookie(refreshCookie)
	if err != nil {
		return "", false
	}
	return cookie.Value, true
}

// Logout ends the session that the request is made in, whatever of it the request carries.
func (s *Server) Logout(c *echo.Context) error {
	request, err := body[apigen.Refresh](c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	if token, _ := refreshOf(c, request); token != "" {
		if err := s.accounts.Logout(ctx, token); err != nil {
			return err
		}
	}
	if session := auth.PrincipalOf(ctx).SessionID; session != "" {
		if err := s.Store.EndSession(ctx, session); err != nil {
			return err
		}
	}
	s.forget(c)
	return c.NoContent(http.StatusNoContent)
}

// ChangePassword changes the caller's own.
func (s *Server) ChangePassword(c *echo.Context) error {
	request, err := body[apigen.ChangePassword](c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	err = s.accounts.ChangePassword(ctx, auth.PrincipalOf(ctx), request.CurrentPassword, request.NewPassword, device(c))
	if err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// GetMe says who asks.
func (s *Server) GetMe(c *echo.Context) error {
	ctx := c.Request().Context()
	p := auth.PrincipalOf(ctx)
	me := apigen.Me{By: apigen.MeBy(p.By), Role: apigen.Role(p.Role)}
	if p.UserID != "" {
		user, err := s.Store.GetUser(ctx, p.UserID)
		if err != nil {
			return err
		}
		me.User = viewUser(*user)
	}
	if home, err := s.project(ctx, ""); err == nil {
		me.DefaultProjectID = home.ID
	}
	return c.JSON(http.StatusOK, me)
}

// UpdateMe changes the caller's name, and with the password the e-mail address.
func (s *Server) UpdateMe(c *echo.Context) error {
	request, err := body[apigen.UpdateMe](c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	who := auth.PrincipalOf(ctx)
	if who.UserID == "" {
		return account.NoAccount()
	}
	if request.Email != "" {
		if err := s.accounts.ChangeEmail(ctx, who, request.CurrentPassword, request.Email, device(c)); err != nil {
			return err
		}
	}
	if request.Name != nil {
		_, err := s.Store.ChangeUser(ctx, who.UserID, who.SessionID, func(u *store.User) error {
			u.Name = *request.Name
			return nil
		})
		if err != nil {
			return err
		}
	}
	return s.GetMe(c)
}

// ListSessions lists where the caller is signed in.
func (s *Server) ListSessions(c *echo.Context) error {
	ctx := c.Request().Context()
	who := auth.PrincipalOf(ctx)
	sessions, err := s.Store.ListSessions(ctx, who.UserID)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, apigen.DeviceList{Items: mapped(sessions, func(v store.Session) apigen.Device {
		return apigen.Device{ID: v.ID, Client: v.Client, Address: v.Address, Current: v.ID == who.SessionID,
			CreatedAt: v.CreatedAt, LastUsedAt: v.LastUsedAt, ExpiresAt: v.ExpiresAt}
	})})
}

// EndSession signs one of the caller's devices out.
func (s *Server) EndSession(c *echo.Context, id string) error {
	ctx := c.Request().Context()
	session, _, err := s.Store.GetSession(ctx, id)
	if err != nil {
		return err
	}
	if session.UserID != auth.PrincipalOf(ctx).UserID {
		return contract.Errorf(contract.CodeNotFound, "there is no session %q", id).On("id")
	}
	if err := s.Store.EndSession(ctx, id); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

func device(c *echo.Context) account.Device {
	return account.Device{Client: c.Request().UserAgent(), Address: c.RealIP()}
}

// signedIn answers with a session: tokens for a program; cookies, and no token, for a browser.
func (s *Server) signedIn(c *echo.Context, status int, signed *account.SignedIn, cookies bool) error {
	// From here on the request is theirs: the audit log says who has signed in.
	setContext(c, auth.WithPrincipal(c.Request().Context(), signed.Principal))
	left := time.Until(signed.Expires)
	session := apigen.Session{TokenType: "Bearer", ExpiresIn: int(left.Seconds()), ExpiresAt: signed.Expires}
	if signed.User != nil {
		session.User = viewUser(*signed.User)
	}
	if cookies {
		s.setCookie(c, accessCookie, "/", signed.Access, left)
		s.setCookie(c, refreshCookie, refreshPath, signed.Refresh, account.SessionIdle)
	} else {
		session.AccessToken, session.RefreshToken = signed.Access, signed.Refresh
	}
	return c.JSON(status, session)
}

// forget takes the browser's cookies away.
func (s *Server) forget(c *echo.Context) {
	s.setCookie(c, accessCookie, "/", "", -time.Second)
	s.setCookie(c, refreshCookie, refreshPath, "", -time.Second)
}

func (s *Server) setCookie(c *echo.Context, name, path, value string, life time.Duration) {
	c.SetCookie(&http.Cookie{Name: name, Value: value, Path: path, HttpOnly: true, Secure: c.Scheme() == "https",
		SameSite: http.SameSiteStrictMode, MaxAge: int(life / time.Second)})
}

func viewUser(u store.User) apigen.User {
	return apigen.User{ID: u.ID, Email: u.Email, Name: u.Name, Role: apigen.Role(u.Role), Disabled: !u.DisabledAt.IsZero(),
		Invited: u.PasswordHash == "", CreatedAt: u.CreatedAt, UpdatedAt: u.UpdatedAt, LastSeenAt: u.LastSeenAt}
}

// ListUsers lists accounts.
func (s *Server) ListUsers(c *echo.Context, p apigen.ListUsersParams) error {
	page, err := s.Store.ListUsers(c.Request().Context(), p.Q, store.Filter{Limit: p.Limit, Cursor: p.Cursor})
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, apigen.UserPage{Items: mapped(page.Items, viewUser), NextCursor: page.Next})
}

// CreateUser invites somebody.
func (s *Server) CreateUser(c *echo.Context) error {
	request, err := body[apigen.CreateUser](c)
	if err != nil {
		return err
	}
	aboutEmail(c, request.Email)
	user, code, expires, err := s.accounts.Invite(c.Request().Context(), request.Email, request.Name, cmp.Or(string(request.Role), contract.RoleMember))
	if err != nil {
		return err
	}
	return c.JSON(http.StatusCreated, apigen.Invitation{User: viewUser(*user), Link: s.linkForOthers(c, passwordPage, code, expires)})
}

// GetUser shows an account.
func (s *Server) GetUser(c *echo.Context, id string) error {
	user, err := s.Store.GetUser(c.Request().Context(), id)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, viewUser(*user))
}

// UpdateUser changes an account's name or role, or disables it.
func (s *Server) UpdateUser(c *echo.Context, id string) error {
	request, err := body[apigen.UpdateUser](c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	user, err := s.Store.ChangeUser(ctx, id, auth.PrincipalOf(ctx).SessionID, func(u *store.User) error {
		u.Name, u.Role = cmp.Or(request.Name, u.Name), cmp.Or(string(request.Role), u.Role)
		switch {
		case request.Disabled == nil:
		case !*request.Disabled:
			u.DisabledAt = time.Time{}
		case u.DisabledAt.IsZero():
			u.DisabledAt = time.Now()
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, viewUser(*user))
}

// DeleteUser erases an account; its projects become the caller's.
func (s *Server) DeleteUser(c *echo.Context, id string) error {
	ctx := c.Request().Context()
	who := auth.PrincipalOf(ctx)
	if who.UserID == id {
		return contract.Errorf(contract.CodeConflict, "this is your own account").Mend("have another owner delete it")
	}
	if err := s.Store.DeleteUser(ctx, id, who.UserID); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// ResetUser makes a link by which an account's holder chooses a password.
func (s *Server) ResetUser(c *echo.Context, id string) error {
	ctx := c.Request().Context()
	user, err := s.Store.GetUser(ctx, id)
	if err != nil {
		return err
	}
	code, expires, err := s.accounts.PasswordLink(ctx, user.ID)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, s.linkForOthers(c, passwordPage, code, expires))
}
