package artifact

import (
	"context"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"gocloud.dev/blob"
	"gocloud.dev/blob/fileblob"
	"gocloud.dev/gcerrors"

	"github.com/vibeflow/vibeflow/contract"
)

// Mark is the key under which a bucket keeps the ID of its index. A folder without it is another one: the empty mount point
// of a disk that is not mounted, most often.
const Mark = "owner"

// FolderURL is the URL of a bucket in a folder, whatever is in its name.
func FolderURL(folder string) string {
	return (&url.URL{Scheme: fileblob.Scheme, Path: filepath.ToSlash(folder)}).String()
}

// openBucket opens file:// buckets itself: fileblob's URL opener would put its temporary files into the system's
// temporary folder, in the open and on another disk. known is how many objects have to be in it: a folder is made only for
// the first.
func openBucket(ctx context.Context, bucketURL string, known int) (*blob.Bucket, string, error) {
	u, err := url.Parse(bucketURL)
	if err != nil || u.Scheme != fileblob.Scheme {
		bucket, err := blob.OpenBucket(ctx, bucketURL)
		if err != nil {
			return nil, "", contract.Errorf(contract.CodeInvalidConfig, "cannot open the bucket: %w", err).Mend("check its address and credentials")
		}
		return bucket, "", nil
	}
	folder := filepath.FromSlash(u.Path)
	if known == 0 {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return nil, "", diskError("make the bucket's folder", err)
		}
	}
	bucket, err := fileblob.OpenBucket(folder, &fileblob.Options{NoTempDir: true, DirFileMode: 0o700, Metadata: fileblob.MetadataDontWrite})
	if known > 0 && errors.Is(err, fs.ErrNotExist) {
		return nil, "", lacksAll(folder, known)
	}
	if err != nil {
		return nil, "", diskError("open the bucket's folder", err)
	}
	return bucket, folder, nil
}

// claim marks a bucket that is new as the index's, and refuses another's. A bucket that lacks all that the index knows is none
// of its own, even with its mark: a start before the disk was mounted leaves one in the mount point. An empty mark, which a
// loss of power may leave, is taken for it.
func (s *Store) claim(ctx context.Context, known map[string]bool) error {
	mark, err := s.bucket.ReadAll(ctx, Mark)
	absent := gcerrors.Code(err) == gcerrors.NotFound
	switch {
	case err != nil && !absent:
		return s.cannotTell(err)
	case len(known) > 0 && (absent || string(mark) == s.owner):
		held, err := s.holdsAny(ctx, known)
		if err != nil {
			return s.cannotTell(err)
		}
		if !held {
			return lacksAll(s.folder, len(known))
		}
	case len(mark) > 0 && string(mark) != s.owner:
		return contract.Errorf(contract.CodePrerequisite, "the stored files belong to another database than app.db").
			Mend("put back the app.db that belongs to them; to start anew, name another data folder with --data")
	}
	if len(mark) == 0 {
		if err := s.bucket.WriteAll(ctx, Mark, []byte(s.owner), nil); err != nil {
			return diskError("mark the bucket", err)
		}
	}
	return diskError("mark the bucket", s.settleFolder())
}

// holdsAny looks for some of what has to be there.
func (s *Store) holdsAny(ctx context.Context, known map[string]bool) (bool, error) {
	found := 0
	for id := range known {
		there, err := s.exists(ctx, id)
		if err != nil {
			return false, err
		}
		if there {
			s.witnesses.saw(id)
			if found++; found == fewWitnesses {
				break
			}
		}
	}
	return found > 0, nil
}

func (s *Store) exists(ctx context.Context, id string) (bool, error) {
	return s.bucket.Exists(ctx, objectFolder+id)
}

// settleFolder makes the folder of objects, and takes the permissions of others from the mark, which the bucket's driver
// gives by the umask.
func (s *Store) settleFolder() error {
	if s.folder == "" {
		return nil
	}
	mark := filepath.Join(s.folder, Mark)
	return errors.Join(os.MkdirAll(filepath.Join(s.folder, filepath.FromSlash(objectFolder)), 0o700), os.Chmod(mark, 0o600), syncAll(mark, s.folder))
}

// There returns nil while the bucket is the index's own, storage_away while it is not there or another is in its place.
func (s *Store) There(ctx context.Context) error {
	mark, err := s.bucket.ReadAll(ctx, Mark)
	if err == nil && string(mark) != s.owner {
		err = errors.New("it has another mark")
	}
	if err == nil {
		err = s.witnesses.look(ctx, s.exists)
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	default:
		return away(err.Error())
	}
}

// away is the error for whoever needs a stored file. The detail may name the server's folder, which is not for everybody.
func away(detail string) error {
	err := contract.Errorf(contract.CodeStorageAway, "the stored files are away: their disk is not mounted, or something else is in its place").
		Mend("mount their disk, or put their folder back: all that waits for them goes on by itself")
	err.Detail = detail
	return err
}

// orAway is an error that nobody has typed, or storage_away where that is its reason.
func (s *Store) orAway(ctx context.Context, err error) error {
	if contract.CodeOf(err) != contract.CodeInternal || ctx.Err() != nil {
		return err
	}
	if away := s.There(ctx); away != nil {
		return errors.Join(away, err)
	}
	return err
}

func (s *Store) cannotTell(err error) error {
	return contract.Errorf(contract.CodeStorageAway, "it cannot be told whether the stored files are there: %w", err).
		Mend("look after the disk that holds %s", s.folder)
}

func lacksAll(folder string, known int) error {
	return contract.Errorf(contract.CodeStorageAway, "the stored files are away: the database knows of %d, and none is in %s", known, folder).
		Mend("mount their disk, or put their folder back. Where they are lost, restore a backup into a new data folder; "+
			"to go on without them, make an empty file %s", filepath.Join(folder, Mark))
}

// Marked tells whether a folder is the bucket of the index with an ID: nil, or storage_away.
func Marked(folder, owner string) error {
	mark, err := os.ReadFile(filepath.Join(folder, Mark))
	if err == nil && string(mark) == owner {
		return nil
	}
	return NotIn(folder)
}

// NotIn is the error for a folder that should have the stored files, and has not.
func NotIn(folder string) error {
	return contract.Errorf(contract.CodeStorageAway, "the stored files are not in %s: their disk is not mounted, or something else is in its place", folder).
		Mend("mount their disk, or put their folder back")
}
