package auth

import (
	"context"
	"net/mail"
	"runtime"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/bcrypt"

	"github.com/vibeflow/vibeflow/contract"
)

const (
	minPasswordChars = 10
	// maxPasswordBytes is bcrypt's: it would not look at what comes after.
	maxPasswordBytes = 72
	maxEmailBytes    = 254
)

// DefaultCost is bcrypt's work factor: about a quarter of a second on a common core.
const DefaultCost = 12

// Passwords hashes and checks passwords, no more at once than half of the machine's cores: a flood of attempts must not
// take them all.
type Passwords struct {
	cost  int
	slots chan struct{}
	// nobody is a hash to compare with where there is no account, so that it takes as long.
	nobody func() []byte
}

// NewPasswords uses bcrypt at a cost; 0 means DefaultCost.
func NewPasswords(cost int) *Passwords {
	if cost == 0 {
		cost = DefaultCost
	}
	p := &Passwords{cost: cost, slots: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))}
	p.nobody = sync.OnceValue(func() []byte {
		hash, err := bcrypt.GenerateFromPassword([]byte(random()), cost)
		if err != nil {
			panic("auth: " + err.Error()) // of a password of ours, at a cost of ours
		}
		return hash
	})
	go p.nobody() // not with the first attempt, which would take longer than others
	return p
}

// CheckPassword refuses (invalid) a password that is too short, longer than bcrypt looks at, or a mere repetition of
// something.
func CheckPassword(password, email string) error {
	local, _, _ := strings.Cut(email, "@")
	switch {
	case !utf8.ValidString(password):
		return weak("the password is not UTF-8")
	case utf8.RuneCountInString(password) < minPasswordChars:
		return weak("the password has fewer than %d characters", minPasswordChars)
	case len(password) > maxPasswordBytes:
		return weak("the password has more than %d bytes", maxPasswordBytes)
	case distinct(password) < 4:
		return weak("the password is made of fewer than 4 different characters")
	case strings.EqualFold(password, email) || (len(local) > 3 && strings.EqualFold(strings.Trim(password, "0123456789!"), local)):
		return weak("the password is the e-mail address")
	default:
		return nil
	}
}

func weak(format string, args ...any) error {
	return contract.Errorf(contract.CodeInvalid, format, args...).On("password").
		Mend("choose %d characters or more, and at most %d bytes; a few words do well", minPasswordChars, maxPasswordBytes)
}

func distinct(s string) int {
	seen := map[rune]bool{}
	for _, r := range s {
		seen[r] = true
	}
	return len(seen)
}

// Hash hashes a password that CheckPassword has accepted. It waits for its turn.
func (p *Passwords) Hash(ctx context.Context, password string) (string, error) {
	done, err := p.turn(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), p.cost)
	return string(hash), err
}

// Matches reports whether a password is the one of a hash; an empty hash matches nothing, and takes as long.
func (p *Passwords) Matches(ctx context.Context, hash, password string) (bool, error) {
	done, err := p.turn(ctx)
	if err != nil {
		return false, err
	}
	defer done()
	want, known := []byte(hash), hash != ""
	if !known {
		want = p.nobody()
	}
	if len(password) > maxPasswordBytes { // bcrypt would compare a part of it
		known, password = false, password[:maxPasswordBytes]
	}
	err = bcrypt.CompareHashAndPassword(want, []byte(password))
	return known && err == nil, nil
}

func (p *Passwords) turn(ctx context.Context) (done func(), err error) {
	select {
	case p.slots <- struct{}{}:
		return func() { <-p.slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// NormalEmail returns an e-mail address as accounts keep it, or invalid.
func NormalEmail(email string) (string, error) {
	email = strings.ToLower(strings.TrimSpace(email))
	parsed, err := mail.ParseAddress(email)
	if err != nil || parsed.Address != email || len(email) > maxEmailBytes || strings.ContainsFunc(email, unicode.IsSpace) {
		return "", contract.Errorf(contract.CodeInvalid, "that is not an e-mail address").On("email").Mend("write it as name@example.com")
	}
	return email, nil
}
