// Package architecture holds the test of the import rules of CONTRIBUTING.md; it has no code of its own.
package architecture
