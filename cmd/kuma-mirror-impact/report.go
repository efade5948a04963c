package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/kuma-mirror/kuma-mirror/internal/impact"
)

func newChartCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "chart RESULTS.json",
		Short: "Draw a results file as SVG",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			results, err := impact.ReadResults(args[0])
			if err != nil {
				return failure{err}
			}
			_, err = cmd.OutOrStdout().Write(impact.Chart(results))
			return err
		},
	}
}

func newMatrixCommand() *cobra.Command {
	var document string
	cmd := &cobra.Command{
		Use:   "matrix RESULTS.json [OTHER.json...]",
		Short: "Write results files as the Markdown of docs/impact.md",
		Long: `matrix writes a results file as Markdown: goals, tables, and a comparison with
the results of other Envoys in the files after it.

With --write it puts each section between its marks in the document, and leaves
the rest of it as it is.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var all []*impact.Results
			for _, file := range args {
				results, err := impact.ReadResults(file)
				if err != nil {
					return failure{err}
				}
				all = append(all, results)
			}
			sections := impact.Report(all[0], all[1:]...)
			if document != "" {
				if err := fillDocument(document, sections); err != nil {
					return failure{err}
				}
				return nil
			}
			for i, section := range sections {
				if i > 0 {
					fmt.Fprintln(cmd.OutOrStdout())
				}
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "## %s\n\n%s", section.Name, section.Text); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&document, "write", "", "a document whose sections are replaced, such as docs/impact.md")
	return cmd
}

func fillDocument(file string, sections []impact.Section) error {
	document, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	filled, err := impact.Fill(document, sections)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return os.WriteFile(file, filled, 0o644)
}
