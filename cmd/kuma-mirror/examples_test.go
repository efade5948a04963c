package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("the examples of operating", func() {
	root := filepath.Join("..", "..")
	read := func(name string) string {
		GinkgoHelper()
		text, err := os.ReadFile(filepath.Join(root, "examples", "operate", name))
		Expect(err).NotTo(HaveOccurred())
		return strings.ReplaceAll(string(text), "\\\n", "")
	}
	// accepted holds that there is such a command line.
	accepted := func(args []string) {
		GinkgoHelper()
		cmd, rest, err := newRootCommand().Find(args)
		Expect(err).NotTo(HaveOccurred())
		Expect(cmd.Runnable()).To(BeTrue(), "%q", args)
		Expect(cmd.ParseFlags(rest)).To(Succeed(), "%q", args)
		Expect(cmd.ValidateArgs(cmd.Flags().Args())).To(Succeed(), "%q", args)
		Expect(cmd.ValidateRequiredFlags()).To(Succeed(), "%q", args)
	}

	It("call commands that there are, in units", func() {
		units, err := filepath.Glob(filepath.Join(root, "examples", "operate", "*.service"))
		Expect(err).NotTo(HaveOccurred())
		called := 0
		for _, unit := range units {
			for _, line := range regexp.MustCompile(`(?m)^ExecStart=(.*)$`).FindAllStringSubmatch(read(filepath.Base(unit)), -1) {
				// Of a shell's command line the one command of ours.
				_, ours, is := strings.Cut(strings.TrimSuffix(line[1], "'"), "/usr/local/bin/kuma-mirror ")
				if !is {
					continue
				}
				ours = regexp.MustCompile(`\$\([^)]*\)`).ReplaceAllString(ours, "now")
				accepted(strings.Fields(strings.ReplaceAll(ours, `"`, "")))
				called++
			}
		}
		Expect(called).To(Equal(3))
	})

	It("call commands that exist, in the containers", func() {
		found := regexp.MustCompile(`(?m)^CMD (\[.*\])$`).FindAllStringSubmatch(read("Containerfile"), -1)
		Expect(found).To(HaveLen(2))
		for _, command := range found {
			var args []string
			Expect(json.Unmarshal([]byte(command[1]), &args)).To(Succeed())
			accepted(args)
		}
	})

	It("copy into the container what the program is built from", func(ctx SpecContext) {
		cmd := exec.CommandContext(ctx, "go", "list", "-deps", "-f", "{{with .Module}}{{if .Main}}{{$.Dir}}{{end}}{{end}}", "./cmd/kuma-mirror")
		cmd.Dir = root
		out, err := cmd.Output()
		Expect(err).NotTo(HaveOccurred())
		top, err := filepath.Abs(root)
		Expect(err).NotTo(HaveOccurred())
		var folders []string
		for _, dir := range strings.Fields(string(out)) {
			relative, err := filepath.Rel(top, dir)
			Expect(err).NotTo(HaveOccurred())
			folder, _, _ := strings.Cut(relative, string(filepath.Separator))
			if !slices.Contains(folders, folder) {
				folders = append(folders, folder)
			}
		}
		Expect(len(folders)).To(BeNumerically(">", 5))
		for _, folder := range folders {
			Expect(read("Containerfile")).To(ContainSubstring("COPY "+folder+" "+folder+"\n"), "it is imported")
		}
	})
})
