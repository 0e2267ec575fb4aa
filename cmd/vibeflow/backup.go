package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/backup"
	"github.com/vibeflow/vibeflow/internal/datadir"
	"github.com/vibeflow/vibeflow/internal/embedded"
	"github.com/vibeflow/vibeflow/internal/store"
)

func (a *app) backupCommand() *cobra.Command {
	var to, passphraseFile string
	var ask bool
	var keep int
	cmd := &cobra.Command{
		Use: "backup", Short: "Back up everything, also while it is in use",
		Long: `Back up a data folder: both databases as they are at one moment, the keys, and every stored file. Nothing has to be
stopped; the server's writes wait for some milliseconds.

--to names a file that ends in .tar or .age, or a folder: a folder keeps several backups and copies each stored file once.
With a passphrase the backup is encrypted (age, so that "age -d FILE | tar -x" opens it too). Without one, whoever has it
can read everything: the folder's keys are part of it.

  vibeflow backup --to /mnt/usb/vibeflow --passphrase-file ~/.vibeflow-passphrase
  vibeflow restore /mnt/usb/vibeflow --data ~/vibeflow-restored --passphrase-file ~/.vibeflow-passphrase`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			path, err := a.dataPath()
			if err != nil {
				return err
			}
			dir, err := datadir.Find(path)
			if err != nil {
				return err
			}
			passphrase, err := a.passphrase(passphraseFile, ask, true)
			if err != nil {
				return err
			}
			if to == "" {
				to = backup.Name(time.Now(), passphrase != "")
			}
			shown := a.line()
			report, err := backup.Record(cmd.Context(), backup.Options{Dir: dir, To: to, Passphrase: passphrase, Keep: keep, Version: version(),
				Progress: transferred(shown, "backing up")})
			if cmd.Context().Err() != nil {
				a.note("the backup was not made, and nothing of it is left")
			}
			if err != nil {
				return err
			}
			shown.clear()
			return a.print(report, func(w io.Writer) { a.tellBackup(w, report) })
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "file (.tar, .age) or folder to write to (default: a new file in the present folder)")
	cmd.Flags().StringVar(&passphraseFile, "passphrase-file", "", "file whose first line is the passphrase to encrypt with (default $"+backup.EnvPassphrase+")")
	cmd.Flags().BoolVar(&ask, "encrypt", false, "ask for a passphrase")
	cmd.Flags().IntVar(&keep, "keep", 0, "how many backups a folder keeps (default: all)")
	return cmd
}

func (a *app) tellBackup(w io.Writer, report backup.Report) {
	_, _ = fmt.Fprintln(w, report.Path)
	a.note("backed up %s (%d stored files; %s copied) in %.1f s; the server's writes waited %.0f ms", humanize.IBytes(uint64(report.Bytes)), report.Objects,
		humanize.IBytes(uint64(report.Copied)), report.Seconds, report.HeldMS)
	if !report.Encrypted {
		a.note("! it is not encrypted, and has the keys of the data folder: whoever reads it reads everything. Keep it like a password, or give a passphrase (--encrypt, --passphrase-file)")
	} else {
		a.note("it is encrypted, and has the keys of the data folder in it: without the passphrase nobody can open it, you included")
	}
	for _, path := range report.Removed {
		a.note("removed the older %s", path)
	}
	if n := len(report.Missing); n > 0 {
		a.note("! %d stored files are missing in the data folder itself, and so in the backup: %s", n, strings.Join(report.Missing, ", "))
	}
}

func (a *app) restoreCommand() *cobra.Command {
	var passphraseFile string
	var partial bool
	cmd := &cobra.Command{
		Use: "restore FILE --data NEWFOLDER", Short: "Make a new data folder of a backup",
		Long: `Make a data folder of a backup: FILE is what "vibeflow backup" wrote, or a folder of backups, whose newest is taken.
Every file is compared with its digest. What was under way goes on at the next start, from its last checkpoint.`,
		Args: oneArg("backup"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if a.data == "" {
				return contract.Errorf(contract.CodeInvalid, "a backup is restored into a new folder, which has to be named").On("data").
					Mend("vibeflow restore %s --data NEWFOLDER", args[0])
			}
			passphrase, err := a.passphrase(passphraseFile, false, false)
			if err != nil {
				return err
			}
			shown := a.line()
			options := backup.RestoreOptions{From: args[0], To: a.data, Passphrase: passphrase, Partial: partial, Check: usable,
				CheckApp: store.Examine, Progress: transferred(shown, "restoring")}
			restored, err := backup.Restore(cmd.Context(), options)
			if contract.CodeOf(err) == contract.CodeInvalid && passphrase == "" && a.terminal() {
				if options.Passphrase, err = a.passphrase("", true, false); err == nil {
					restored, err = backup.Restore(cmd.Context(), options)
				}
			}
			if err != nil {
				return err
			}
			shown.clear()
			return a.print(restored, func(w io.Writer) { a.tellRestored(w, restored) })
		},
	}
	cmd.Flags().StringVar(&passphraseFile, "passphrase-file", "", "file whose first line is the passphrase (default $"+backup.EnvPassphrase+")")
	cmd.Flags().BoolVar(&partial, "partial", false, "restore although stored files are missing or damaged; what needs them fails, and says so")
	return cmd
}

func (a *app) tellRestored(w io.Writer, r backup.Restored) {
	_, _ = fmt.Fprintln(w, r.Path)
	a.note("restored the backup of %s (%s, %d stored files) in %.1f s", r.BackupAt.Local().Format("2 January 2006, 15:04:05"), humanize.IBytes(uint64(r.Bytes)), r.Objects, r.Seconds)
	if len(r.Missing) > 0 {
		a.note("! %d stored files are missing, and what needs them will fail: %s", len(r.Missing), strings.Join(r.Missing, ", "))
	}
	a.note("start it with: vibeflow up --data %s", r.Path)
	a.note("what happened after the backup is not in it. Jobs that were under way go on from their last checkpoint; sessions and API keys stay good, and workers sign in with a new token")
}

// usable refuses a backup whose Temporal this program could not go on with.
func usable(head backup.Head) error {
	if head.Temporal == "" {
		return nil
	}
	return embedded.Usable(head.Temporal)
}

func (a *app) terminal() bool {
	file, isFile := a.err.(*os.File)
	return isFile && !a.json && !a.quiet && term.IsTerminal(int(file.Fd())) && term.IsTerminal(int(os.Stdin.Fd()))
}

// passphrase comes from a file, else from the environment; ask has it typed, twice where a slip would be found too late.
func (a *app) passphrase(file string, ask, twice bool) (string, error) {
	if !ask {
		return backup.Passphrase(file)
	}
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return "", contract.Errorf(contract.CodeInvalid, "there is no terminal to ask for a passphrase at").On("encrypt").
			Mend("give it with --passphrase-file or $%s", backup.EnvPassphrase)
	}
	a.settle()
	first, err := a.promptSecret("Passphrase", nil)
	if err != nil || !twice {
		return first, err
	}
	again, err := a.promptSecret("Once more", nil)
	if err == nil && first != again {
		err = contract.Errorf(contract.CodeInvalid, "the two differ").On("passphrase").Mend("try again")
	}
	return first, err
}

// leastShown is how much has to be copied before it says something of the speed.
const leastShown = 1 << 20

// transferred shows how much of a copy is done, how fast it goes and how long it still takes.
func transferred(shown *line, label string) func(done, total int64) {
	var began time.Time // of the first byte: to make a key of a passphrase takes a while before
	return func(done, total int64) {
		if began.IsZero() {
			began = time.Now()
		}
		note := humanize.IBytes(uint64(done)) + " of " + humanize.IBytes(uint64(total))
		if seconds := time.Since(began).Seconds(); seconds > 2 && done > leastShown {
			note += fmt.Sprintf(", %s/s, %s left", humanize.IBytes(uint64(float64(done)/seconds)),
				(time.Duration(seconds*float64(total-done)/float64(done)) * time.Second).Round(time.Second))
		}
		shown.update(label, float64(done), float64(total), note)
	}
}

// backupFlags are the schedule's, of `up` and `server`.
type backupFlags struct{ backup.Schedule }

func (f *backupFlags) add(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&f.Every, "backup-every", 0, "back up this often (24h), the first time at once if there is no backup yet; needs --backup-to")
	cmd.Flags().StringVar(&f.To, "backup-to", "", "folder that keeps the scheduled backups")
	cmd.Flags().IntVar(&f.Keep, "backup-keep", defaultKeep, "how many of them are kept")
	cmd.Flags().StringVar(&f.PassphraseFile, "backup-passphrase-file", "", "file whose first line is the passphrase to encrypt them with (default $"+backup.EnvPassphrase+")")
}

const (
	defaultKeep = 7
	leastEvery  = time.Minute
)

// check refuses a schedule that cannot be meant, and makes its paths absolute: children may run elsewhere.
func (f *backupFlags) check() (err error) {
	switch {
	case f.Every == 0 && f.To == "" && f.PassphraseFile == "":
		return nil
	case f.Every == 0 || f.To == "":
		return contract.Errorf(contract.CodeInvalid, "a schedule needs both a rhythm and a place").On("backup-every").Mend("for example --backup-every 24h --backup-to /mnt/backups/vibeflow")
	case f.Every < leastEvery:
		return contract.Errorf(contract.CodeInvalid, "%s is too often", f.Every).On("backup-every").Mend("take %s or more", leastEvery)
	case f.Keep < 1:
		return contract.Errorf(contract.CodeInvalid, "at least one backup has to be kept").On("backup-keep")
	case backup.IsFile(f.To):
		return contract.Errorf(contract.CodeInvalid, "%s is one file, and a schedule makes several", f.To).On("backup-to").Mend("name a folder")
	}
	if f.To, err = filepath.Abs(f.To); err != nil {
		return err
	}
	if f.PassphraseFile == "" {
		return nil
	}
	if f.PassphraseFile, err = filepath.Abs(f.PassphraseFile); err != nil {
		return err
	}
	_, err = backup.Passphrase(f.PassphraseFile)
	return err
}

func (f *backupFlags) args() []string {
	if f.Every == 0 {
		return nil
	}
	args := []string{"--backup-every", f.Every.String(), "--backup-to", f.To, "--backup-keep", fmt.Sprint(f.Keep)}
	if f.PassphraseFile != "" {
		args = append(args, "--backup-passphrase-file", f.PassphraseFile)
	}
	return args
}
