// Package seal holds the master key, and seals small values: what rows of the database say of users' content, and the blocks
// of uploads under way. internal/artifact encrypts objects, which are large, under data keys that are wrapped here.
//
// A sealed value is bound to its place (a table and a row, a stream and a number): one that was changed, or put into
// another place, does not open. XChaCha20-Poly1305 takes random nonces that never repeat, however many values there are.
package seal
