package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/build/check"
)

// codeBlock is a block of YAML in Markdown.
var codeBlock = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```")

var _ = Describe("the documents", func() {
	root := filepath.Join("..", "..")

	It("show valid resources", func(ctx SpecContext) {
		files, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
		Expect(err).NotTo(HaveOccurred())
		resources := 0
		for _, file := range append(files, filepath.Join(root, "README.md")) {
			text, err := os.ReadFile(file)
			Expect(err).NotTo(HaveOccurred())
			for _, block := range codeBlock.FindAllStringSubmatch(string(text), -1) {
				if !strings.HasPrefix(block[1], "type:") && !strings.HasPrefix(block[1], "apiVersion: kuma.io/") {
					continue // a piece of one, or somebody else's
				}
				shown, err := api.Parse(file, []byte(block[1]))
				Expect(err).NotTo(HaveOccurred(), block[1])
				errors, _ := check.Resources(ctx, shown, nil)
				Expect(errors).To(BeEmpty(), block[1])
				resources += len(shown)
			}
		}
		Expect(resources).To(BeNumerically(">=", 4), "the documents show policies")
	})

	It("link to what is there", func() {
		link := regexp.MustCompile(`\]\(([^)#]+)(#[^)]*)?\)`)
		files, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
		Expect(err).NotTo(HaveOccurred())
		top, err := filepath.Glob(filepath.Join(root, "*.md"))
		Expect(err).NotTo(HaveOccurred())
		for _, file := range append(files, top...) {
			text, err := os.ReadFile(file)
			Expect(err).NotTo(HaveOccurred())
			for _, target := range link.FindAllStringSubmatch(string(text), -1) {
				if strings.HasPrefix(target[1], "https://") {
					continue
				}
				Expect(filepath.Join(filepath.Dir(file), target[1])).To(BeAnExistingFile(), "linked from "+file)
			}
		}
	})
})
