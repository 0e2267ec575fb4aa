// Package controltest tests the control worker against a real Temporal, a real database and a real artifact store. It is a
// package of its own because it needs the embedded server, whose build takes minutes.
package controltest
