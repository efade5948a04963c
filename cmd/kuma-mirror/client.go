package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/api/client"
)

// Environment variables that stand in for flags of commands that ask a host.
const (
	envAddress    = "KUMA_MIRROR_ADDRESS"
	envTokenFile  = "KUMA_MIRROR_TOKEN_FILE"
	envCACertFile = "KUMA_MIRROR_CA_CERT_FILE"
)

// clientFlags are the flags of commands that ask a host over its REST API.
type clientFlags struct {
	address    string
	tokenFile  string
	caCertFile string
	timeout    time.Duration

	// mesh is that of addMesh, output that of addOutput.
	mesh   string
	output string
}

// add adds the flags that say where the host is and who asks.
func (f *clientFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.address, "address", "", "address of the host's API (default: $"+envAddress+" or "+client.DefaultAddress+")")
	flags.StringVar(&f.tokenFile, "token-file", "", "file with the token to send (default: $"+envTokenFile+")")
	flags.StringVar(&f.caCertFile, "ca-cert-file", "", "PEM file with what signed the host's certificate (default: $"+envCACertFile+" or the system's)")
	flags.DurationVar(&f.timeout, "timeout", client.DefaultTimeout, "how long to wait for an answer")
	must(cmd.MarkFlagFilename("token-file"))
	must(cmd.MarkFlagFilename("ca-cert-file"))
}

// addMesh adds --mesh.
func (f *clientFlags) addMesh(cmd *cobra.Command, usage string) {
	cmd.Flags().StringVarP(&f.mesh, "mesh", "m", api.DefaultMesh, usage)
	must(cmd.RegisterFlagCompletionFunc("mesh", f.completeMeshes))
}

// addOutput adds --output.
func (f *clientFlags) addOutput(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.output, "output", "o", "table", "table, json or yaml")
	must(cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json", "yaml"}, cobra.ShellCompDirectiveNoFileComp)))
}

// check says what is wrong with the values of the flags, all of which are the
// user's to get right: the error is one of usage.
func (f *clientFlags) check() error {
	if f.output != "" {
		if err := oneOf("output", f.output, "table", "json", "yaml"); err != nil {
			return err
		}
	}
	if f.timeout <= 0 {
		return fmt.Errorf("--timeout %s has to be more than 0s", f.timeout)
	}
	return nil
}

// client returns a client of the host that the flags and the environment name.
func (f *clientFlags) client() (*client.Client, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	o := client.Options{
		Address:    cmp.Or(f.address, os.Getenv(envAddress), client.DefaultAddress),
		CACertFile: cmp.Or(f.caCertFile, os.Getenv(envCACertFile)),
		Timeout:    f.timeout,
	}
	if file := cmp.Or(f.tokenFile, os.Getenv(envTokenFile)); file != "" {
		token, err := client.ReadToken(file)
		if err != nil {
			return nil, &failure{code: exitFailed, err: fmt.Errorf("the token cannot be read: %w", err)}
		}
		o.Token = token
	}
	c, err := client.New(o)
	if file := (*os.PathError)(nil); errors.As(err, &file) {
		return nil, &failure{code: exitFailed, err: fmt.Errorf("the CA certificates cannot be read: %w", err)}
	}
	return c, err
}
