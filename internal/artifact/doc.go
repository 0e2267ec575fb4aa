// Package artifact stores immutable, encrypted objects in a gocloud.dev/blob bucket (a folder by default).
//
// Each object has a random id and a data key of its own. The content is encrypted by Tink's streaming AEAD
// (AES256-GCM-HKDF, 1 MiB segments, the object's id as associated data), so that nothing of it can be changed, cut short
// or swapped for another object without notice; the data key is encrypted under the master key and stands in the index.
// Reading can start at any byte. Memory does not grow with an object's size (design §7).
package artifact
