// Package limit bounds how often somebody may do something: a token bucket a key (a user, an API key, an address), in a
// map that does not grow without end. Buckets live in memory: a restart fills them.
package limit

import (
	"math"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/vibeflow/vibeflow/contract"
)

// Rule is a bucket: Burst requests at once, refilled at PerSecond. The zero Rule allows everything.
type Rule struct {
	PerSecond float64
	Burst     int
}

// maxKeys bounds the map: about 20 MB of buckets.
const maxKeys = 100_000

// Keyed is a bucket of one rule for each key. It is safe for concurrent use: of any number of requests at one moment, as
// many are allowed as the bucket holds.
type Keyed struct {
	rule    Rule
	now     func() time.Time
	mu      sync.Mutex
	buckets map[string]*rate.Limiter
}

// New makes buckets of a rule.
func New(rule Rule) *Keyed {
	return &Keyed{rule: rule, now: time.Now, buckets: map[string]*rate.Limiter{}}
}

// Decision is the answer to one request: whether it may go on, and what is left. Reset is how long until the bucket is
// full again, Wait how long until it allows the next request.
type Decision struct {
	Allowed          bool
	Limit, Remaining int
	Reset, Wait      time.Duration
}

// And joins two decisions on one request: the stricter counts.
func (d Decision) And(other Decision) Decision {
	if other.Limit == 0 || (other.Allowed && other.Remaining >= d.Remaining && d.Limit != 0) {
		return d
	}
	return other
}

// Take takes one token of a key's bucket.
func (k *Keyed) Take(key string) Decision {
	if k.rule == (Rule{}) {
		return Decision{Allowed: true}
	}
	now := k.now()
	bucket := k.bucket(key, now)
	allowed := bucket.AllowN(now, 1)
	tokens := bucket.TokensAt(now)
	d := Decision{Allowed: allowed, Limit: k.rule.Burst, Remaining: max(0, int(tokens)),
		Reset: k.refill(float64(k.rule.Burst) - tokens)}
	if !allowed {
		d.Wait = k.refill(1 - tokens)
	}
	return d
}

func (k *Keyed) refill(tokens float64) time.Duration {
	return time.Duration(math.Ceil(max(0, tokens)/k.rule.PerSecond*1e3)) * time.Millisecond
}

func (k *Keyed) bucket(key string, now time.Time) *rate.Limiter {
	k.mu.Lock()
	defer k.mu.Unlock()
	if b, ok := k.buckets[key]; ok {
		return b
	}
	if len(k.buckets) >= maxKeys {
		k.sweep(now)
	}
	b := rate.NewLimiter(rate.Limit(k.rule.PerSecond), k.rule.Burst)
	k.buckets[key] = b
	return b
}

// sweep forgets full buckets, which are like new ones. Where that is not enough (a flood of keys), it forgets others by
// chance down to half: a bound on memory comes before a bound on one key among so many.
func (k *Keyed) sweep(now time.Time) {
	for key, b := range k.buckets {
		if b.TokensAt(now) >= float64(k.rule.Burst) {
			delete(k.buckets, key)
		}
	}
	if len(k.buckets) <= maxKeys*3/4 {
		return
	}
	for key := range k.buckets {
		if len(k.buckets) <= maxKeys/2 {
			return
		}
		delete(k.buckets, key)
	}
}

// Address is the key of a remote address ("host:port" or a bare one). Of IPv6 it is the /64 network, which is what one
// subscriber has.
func Address(remote string) string {
	addr, err := netip.ParseAddr(remote)
	if err != nil {
		at, err := netip.ParseAddrPort(remote)
		if err != nil {
			return remote
		}
		addr = at.Addr()
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is4() {
		return addr.String()
	}
	network, err := addr.Prefix(64)
	if err != nil {
		return addr.String()
	}
	return network.String()
}

// Error is a refusal (rate_limited) that says when to come again.
type Error struct {
	Wait  time.Duration
	cause *contract.Error
}

// Error implements error.
func (e *Error) Error() string { return e.cause.Error() }

// Unwrap implements errors.Unwrap.
func (e *Error) Unwrap() error { return e.cause }

// Refuse is the refusal of a request that came too soon.
func Refuse(wait time.Duration) error {
	return &Error{Wait: wait, cause: contract.Errorf(contract.CodeRateLimited, "too many requests").
		Mend("try again in %d s", Seconds(wait))}
}

// Seconds rounds a wait up, to one second at least: what Retry-After says.
func Seconds(wait time.Duration) int { return max(1, int(math.Ceil(wait.Seconds()))) }
