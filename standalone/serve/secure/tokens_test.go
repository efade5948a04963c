package secure

import (
	"os"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

const (
	adminToken  = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	readerToken = "bbbbbbbbbbbbbbbb"
)

var _ = Describe("tokens", func() {
	It("belong to who is on their line", func() {
		tokens, err := ParseTokens([]byte("# name, role, token\n\n" + adminToken + "\n  " + readerToken + "\treader grafana \r\nAb-._~+/9Ab-._~+/9== admin alice"))
		Expect(err).NotTo(HaveOccurred())
		for token, owner := range map[string]Caller{
			adminToken:             {Name: "line 3", Role: Admin},
			readerToken:            {Name: "grafana", Role: Reader},
			"Ab-._~+/9Ab-._~+/9==": {Name: "alice", Role: Admin},
		} {
			got, ok := tokens.Lookup(token)
			Expect(ok).To(BeTrue())
			Expect(got).To(Equal(owner))
		}
		for _, token := range []string{"", "reader", "grafana", adminToken + "a", adminToken[1:], strings.ToUpper(adminToken), "# name, role, token"} {
			_, ok := tokens.Lookup(token)
			Expect(ok).To(BeFalse(), token)
		}
	})

	It("of proxies may be bound to a data plane", func() {
		tokens, err := ParseXDSTokens([]byte(adminToken + "\n" + readerToken + " shop/web\n"))
		Expect(err).NotTo(HaveOccurred())
		all, _ := tokens.Lookup(adminToken)
		Expect(all).To(Equal(Proxy{Name: "line 1"}))
		one, _ := tokens.Lookup(readerToken)
		Expect(one).To(Equal(Proxy{Name: "shop/web", Node: "shop.web"}))
	})

	// Whatever is written in the wrong place may be a secret.
	const secret = "s3cr3t-s3cr3t-s3cr3t"
	DescribeTable("are refused without being shown", func(parse func([]byte) error, content, message string) {
		err := parse([]byte(content))
		Expect(err).To(MatchError(ContainSubstring(message)))
		Expect(err.Error()).NotTo(ContainSubstring("s3cr3t"))
	},
		Entry("none", ofAPI, "# "+secret+"\n", "has no token; make one with: openssl rand -hex 32"),
		Entry("too short", ofAPI, "s3cr3t", "line 1: the token has 6 characters; it has to have 16 to 512"),
		Entry("too long", ofAPI, strings.Repeat(secret, 30), "line 1: the token has 600 characters"),
		Entry("of other characters", ofAPI, secret+"$", "letters, digits and -._~+/"),
		Entry("with the name in front", ofAPI, "grafana-the-reader "+secret, "the role after the token has to be admin or reader"),
		Entry("with a role that is none", ofAPI, secret+" writer", "the role after the token has to be admin or reader"),
		Entry("with more words", ofAPI, secret+" admin alice and "+secret, "TOKEN [ROLE [NAME]]"),
		Entry("twice", ofAPI, secret+" reader\n\n"+secret, "line 3: has the token of line 1"),
		Entry("all that is wrong", ofAPI, "s3cr3t\n"+secret+" writer", "line 1: the token has 6 characters; it has to have 16 to 512, such as those of: openssl rand -hex 32; line 2: "),
		Entry("of proxies, with a role", ofXDS, secret+" admin", "TOKEN [MESH/DATAPLANE]"),
		Entry("of proxies, without a mesh", ofXDS, secret+" /"+secret, "two names, such as default/web"),
		Entry("of proxies, with three names", ofXDS, secret+" a/b/c", "two names, such as default/web"),
		Entry("of proxies, with more words", ofXDS, secret+" a/b c", "TOKEN [MESH/DATAPLANE]"),
	)

	It("are read by clients from the same files", func() {
		Expect(ParseToken([]byte("# mine\n\n" + readerToken + " reader grafana\n"))).To(Equal(readerToken))
		Expect(ParseToken([]byte(readerToken))).To(Equal(readerToken))
		_, err := ParseToken([]byte(readerToken + "\n" + adminToken))
		Expect(err).To(MatchError("has more than one token; it has to have the one to send"))
		_, err = ParseToken([]byte("\n#\n"))
		Expect(err).To(MatchError("has no token; it has to be the first word of a line"))
		_, err = ParseToken([]byte("s3cr3t"))
		Expect(err).To(MatchError(And(ContainSubstring("6 characters"), Not(ContainSubstring("s3cr3t")))))
	})

	DescribeTable("are in files that others do not write, and should not read", func(mode os.FileMode, warns, fails bool) {
		file := filepath.Join(GinkgoT().TempDir(), "tokens")
		write(file, "")
		Expect(os.Chmod(file, mode)).To(Succeed())
		warning, err := checkMode(file)
		Expect(warning != "").To(Equal(warns))
		Expect(err != nil).To(Equal(fails))
	},
		Entry("0600", os.FileMode(0o600), false, false),
		Entry("0640", os.FileMode(0o640), false, false),
		Entry("0644", os.FileMode(0o644), true, false),
		Entry("0666", os.FileMode(0o666), false, true),
	)
})

func ofAPI(content []byte) error {
	_, err := ParseTokens(content)
	return err
}

func ofXDS(content []byte) error {
	_, err := ParseXDSTokens(content)
	return err
}
