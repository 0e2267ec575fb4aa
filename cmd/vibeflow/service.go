package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/vibeflow/vibeflow/contract"
	"github.com/vibeflow/vibeflow/internal/datadir"
	"github.com/vibeflow/vibeflow/internal/service"
)

func (a *app) serviceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "service", Short: "Have the operating system keep VibeFlow running, through a reboot too",
		Long: `Installs "vibeflow up" as a service of your own (systemd on Linux, launchd on macOS; no root needed): it is started at boot
and again whenever it dies, so that what trains finishes by itself. It takes the flags of "up".`,
	}
	cmd.AddCommand(a.serviceInstall(), a.servicePrint(), a.serviceUninstall())
	return cmd
}

// serviceFile is what the commands print as JSON.
type serviceFile struct {
	Path       string `json:"path"`
	Definition string `json:"definition,omitempty"`
}

func (a *app) serviceInstall() *cobra.Command {
	var flags serverFlags
	cmd := &cobra.Command{
		Use: "install", Short: "Install and start the service", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, dir, err := a.service(&flags)
			if err != nil {
				return err
			}
			if _, running := dir.Owner(string(datadir.ProcessUp)); running {
				return contract.Errorf(contract.CodeInUse, "VibeFlow runs on %s already", dir.Root()).Mend("stop it (Ctrl-C pauses what trains), then install the service: it goes on by itself")
			}
			path, err := s.Install(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(serviceFile{Path: path}, func(w io.Writer) {
				_, _ = fmt.Fprintf(w, "Installed and started: %s\nTo take it away: vibeflow service uninstall\n", path)
			})
		},
	}
	flags.add(cmd)
	return cmd
}

func (a *app) servicePrint() *cobra.Command {
	var flags serverFlags
	cmd := &cobra.Command{
		Use: "print", Short: "Show what install would write, and where", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			s, _, err := a.service(&flags)
			if err != nil {
				return err
			}
			path, text, err := s.Definition()
			if err != nil {
				return err
			}
			return a.print(serviceFile{Path: path, Definition: text}, func(w io.Writer) { _, _ = fmt.Fprintf(w, "# %s\n%s", path, text) })
		},
	}
	flags.add(cmd)
	return cmd
}

func (a *app) serviceUninstall() *cobra.Command {
	return &cobra.Command{
		Use: "uninstall", Short: "Stop the service and take it away; the data folder stays", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			path, err := service.Uninstall(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(serviceFile{Path: path}, func(w io.Writer) { _, _ = fmt.Fprintf(w, "Removed %s\n", path) })
		},
	}
}

// service is `up` with the flags given, which are checked as `up` does, and paths that hold wherever it is started.
func (a *app) service(flags *serverFlags) (s service.Service, dir *datadir.Dir, err error) {
	for _, path := range []*string{&flags.tlsCert, &flags.tlsKey} {
		if *path == "" {
			continue
		}
		if *path, err = filepath.Abs(*path); err != nil {
			return s, nil, err
		}
	}
	if err := flags.check(); err != nil {
		return s, nil, err
	}
	if dir, err = a.dataDir(); err != nil {
		return s, nil, err
	}
	binary, err := os.Executable()
	args := append([]string{"up", "--data", dir.Root(), "--listen", flags.listen}, flags.args()...)
	return service.Service{Binary: binary, Args: args, Path: os.Getenv("PATH")}, dir, err
}
