package main

import (
	"github.com/spf13/cobra"
)

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "kuma-mirror",
		Short: "Traffic mirroring for Kuma and Envoy",
		Long: `kuma-mirror sends a copy of live requests to a shadow service. The client
always gets the primary's answer; the shadow's is dropped, and whatever the
shadow does, the primary does not notice.

Policies are Kuma's TrafficRoutes with a mirror section.`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	// Each command lives in a file of its own, named after it.
	root.AddCommand(
		newDemoCommand(),
		newValidateCommand(),
		newRenderCommand(),
		newEncodeCommand(),
		newDecodeCommand(),
		newRunCommand(),
		newProxyCommand(),
		newApplyCommand(),
		newGetCommand(),
		newDeleteCommand(),
		newStatusCommand(),
		newInspectCommand(),
		newExportCommand(),
		newBackupCommand(),
		newRestoreCommand(),
		newBackendCommand(),
		newManCommand(),
		newVersionCommand(),
	)
	return root
}
