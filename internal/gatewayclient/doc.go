// Package gatewayclient is the HTTP client of the worker gateway (contract/gateway.go): the only door that a worker
// has to data.
//
// A Client signs in with the worker token; a Run, made from a claim or an adoption, carries the token of one run under
// one epoch and renews it by itself. Every error is a *contract.Error: the gateway's own, or CodeUnavailable when the
// gateway could not be reached or could not answer. Temporary tells which of them are worth trying again, and
// Patiently tries them again for as long as its context lives.
package gatewayclient
