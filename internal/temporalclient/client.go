// Package temporalclient dials Temporal: the embedded server with the data folder's token, or a cluster elsewhere with
// what its operator configured. Every VibeFlow process uses it, so that all of them identify themselves, log and wait
// in the same way.
package temporalclient

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/vibeflow/vibeflow/contract"
)

// Options says where Temporal is and who calls.
type Options struct {
	Address   string // host:port of the frontend
	Namespace string // empty: contract.Namespace
	Token     string // sent as a bearer token; empty: none
	Identity  string // shown in histories, for example "host/instance/boot"; empty: the SDK's pid@host
	Logger    *slog.Logger
	// Patience bounds how long Dial waits for a server that is not there yet; 0 waits until the context ends.
	Patience time.Duration
	// Adjust changes the SDK's options last: TLS and data converters of an external cluster.
	Adjust func(*client.Options)
}

const (
	firstDelay   = 50 * time.Millisecond
	longestDelay = time.Second
	noticeEvery  = 5 * time.Second
)

// Dial connects and waits until the namespace answers, saying every five seconds what it waits for. A server that
// refuses the token ends it at once with CodeUnauthenticated; one that stays away, with CodeUnavailable.
func Dial(ctx context.Context, options Options) (client.Client, error) {
	if options.Patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, options.Patience)
		defer cancel()
	}
	options = options.withDefaults()
	c, err := client.NewLazyClient(sdkOptions(options))
	if err != nil {
		return nil, contract.Errorf(contract.CodeInvalidConfig, "Temporal client: %w", err)
	}
	if err := waitReady(ctx, c, options); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (o Options) withDefaults() Options {
	if o.Namespace == "" {
		o.Namespace = contract.Namespace
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

func sdkOptions(options Options) client.Options {
	sdk := client.Options{
		HostPort:  options.Address,
		Namespace: options.Namespace,
		Identity:  options.Identity,
		Logger:    newSDKLogger(options.Logger),
	}
	if options.Token != "" {
		sdk.HeadersProvider = bearer(options.Token)
	}
	if options.Adjust != nil {
		options.Adjust(&sdk)
	}
	return sdk
}

// bearer implements client.HeadersProvider.
type bearer string

// GetHeaders returns the headers of one call.
func (token bearer) GetHeaders(context.Context) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(token)}, nil
}

// waitReady asks for the namespace until it is there: a server accepts connections a little before it can answer.
func waitReady(ctx context.Context, c client.Client, options Options) error {
	started := time.Now()
	notice := started.Add(noticeEvery)
	for delay := firstDelay; ; delay = min(delay*2, longestDelay) {
		err := describe(ctx, c, options.Namespace)
		if err == nil {
			return nil
		}
		if denied(err) {
			return contract.Errorf(contract.CodeUnauthenticated, "Temporal at %s refuses this caller", options.Address).
				Mend("use the token of the data folder that this Temporal runs on (secrets/temporal.token)")
		}
		if now := time.Now(); now.After(notice) {
			options.Logger.Warn("waiting for Temporal", "address", options.Address,
				"waited", now.Sub(started).Round(time.Second).String(), "error", err)
			notice = now.Add(noticeEvery)
		}
		select {
		case <-ctx.Done():
			return contract.Errorf(contract.CodeUnavailable, "Temporal at %s did not answer within %s: %w",
				options.Address, time.Since(started).Round(time.Second), err).
				Mend("start it (vibeflow temporal, or vibeflow up), or check its address")
		case <-time.After(delay):
		}
	}
}

// describe is the cheapest call that proves connection, token and namespace. Its own deadline keeps one attempt from
// using up the patience of all of them.
func describe(ctx context.Context, c client.Client, namespace string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_, err := c.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: namespace})
	return err
}

func denied(err error) bool {
	var permission *serviceerror.PermissionDenied
	return errors.As(err, &permission)
}
