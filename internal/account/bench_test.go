package account

import "testing"

// BenchmarkPrincipal is what signing in costs each request.
func BenchmarkPrincipal(b *testing.B) {
	w := newWorld(b)
	signed := w.register("ada@example.com", false)
	for b.Loop() {
		if _, err := w.accounts.Principal(b.Context(), signed.Access); err != nil {
			b.Fatal(err)
		}
	}
}
