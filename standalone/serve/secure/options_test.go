package secure

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
)

var _ = Describe("the options", func() {
	DescribeTable("know what only this machine reaches", func(address string, loopback bool) {
		Expect(IsLoopback(address)).To(Equal(loopback))
	},
		Entry(nil, "127.0.0.1:5681", true),
		Entry(nil, "127.1.2.3:5681", true),
		Entry(nil, "[::1]:5681", true),
		Entry(nil, "[::ffff:127.0.0.1]:5681", true),
		Entry(nil, "localhost:5681", true),
		Entry(nil, "LocalHost:5681", true),
		Entry(nil, ":5681", false),
		Entry(nil, "0.0.0.0:5681", false),
		Entry(nil, "[::]:5681", false),
		Entry(nil, "192.0.2.1:5681", false),
		Entry(nil, "localhost.example.com:5681", false),
		Entry(nil, "127.0.0.1.example.com:5681", false),
		Entry(nil, "127.0.0.1", false),
	)

	local := Options{APIAddress: "127.0.0.1:5681", XDSAddress: "127.0.0.1:5678"}
	everywhere := Options{APIAddress: "0.0.0.0:5681", XDSAddress: "[::]:5678"}
	with := func(o Options, change func(*Options)) Options {
		change(&o)
		return o
	}
	tls := func(o *Options) { o.CertFile, o.KeyFile = "c", "k" }

	DescribeTable("are fine", func(o Options) { Expect(o.Check()).To(Succeed()) },
		Entry("on loopback, with nothing", local),
		Entry("without an API", with(local, func(o *Options) { o.APIAddress = "" })),
		Entry("on loopback, with tokens", with(local, func(o *Options) { o.TokenFile, o.XDSTokenFile = "t", "x" })),
		Entry("anywhere, with TLS and tokens", with(everywhere, func(o *Options) { tls(o); o.TokenFile, o.XDSTokenFile = "t", "x" })),
		Entry("anywhere, with TLS, tokens and client certificates", with(everywhere, func(o *Options) { tls(o); o.TokenFile, o.XDSClientCAFile = "t", "ca" })),
		Entry("anywhere, insecurely", with(everywhere, func(o *Options) { o.Insecure = true })),
		Entry("only xDS anywhere, which is protected", with(local, func(o *Options) { tls(o); o.XDSAddress, o.XDSTokenFile = ":5678", "x" })),
	)

	DescribeTable("are wrong, and all that is wrong is said", func(o Options, messages ...string) {
		err := o.Check()
		for _, m := range messages {
			Expect(err).To(MatchError(ContainSubstring(m)))
		}
	},
		Entry("anywhere, with nothing", everywhere,
			"--api-address 0.0.0.0:5681 can be reached from other machines and needs --tls-cert-file and --tls-key-file and --token-file",
			"--xds-address [::]:5678 can be reached from other machines and needs --tls-cert-file and --tls-key-file and --xds-token-file or --xds-client-ca-file",
			"--insecure"),
		Entry("anywhere, without TLS", with(everywhere, func(o *Options) { o.TokenFile, o.XDSTokenFile = "t", "x" }),
			"--api-address 0.0.0.0:5681 can be reached from other machines and needs --tls-cert-file and --tls-key-file; ", "--xds-address [::]:5678"),
		Entry("anywhere, without tokens", with(everywhere, tls), "needs --token-file; ", "needs --xds-token-file or --xds-client-ca-file; "),
		Entry("the API's tokens do not protect xDS", with(everywhere, func(o *Options) { tls(o); o.TokenFile = "t" }), "--xds-address [::]:5678"),
		Entry("a certificate without key", with(local, func(o *Options) { o.CertFile = "c" }), "go together"),
		Entry("a key without certificate", with(local, func(o *Options) { o.KeyFile = "k" }), "go together"),
		Entry("client certificates without TLS", with(local, func(o *Options) { o.XDSClientCAFile = "ca" }), "--xds-client-ca-file needs --tls-cert-file"),
		Entry("two proofs", with(local, func(o *Options) { tls(o); o.XDSClientCAFile, o.XDSTokenFile = "ca", "x" }), "exclude each other"),
		Entry("tokens of no API", with(local, func(o *Options) { o.APIAddress, o.TokenFile = "", "t" }), "--token-file is for the REST API"),
	)

	DescribeTable("say what --insecure opens", func(o Options, warnings ...any) {
		o.Insecure = true
		Expect(o.Warnings()).To(ConsistOf(warnings...))
	},
		Entry("nothing", local, ContainSubstring("changes nothing here")),
		Entry("everything", everywhere,
			And(ContainSubstring("--api-address 0.0.0.0:5681"), ContainSubstring("anybody on the way reads and changes what is sent; "), ContainSubstring("changes what every Envoy does")),
			And(ContainSubstring("--xds-address [::]:5678"), ContainSubstring("reads every Envoy's configuration"))),
		Entry("tokens in plain text", with(everywhere, func(o *Options) { o.APIAddress, o.XDSTokenFile = "", "x" }),
			And(ContainSubstring("--xds-address"), ContainSubstring("tokens among it"), Not(ContainSubstring("every Envoy's configuration")))),
		Entry("TLS without tokens", with(everywhere, func(o *Options) { tls(o); o.XDSAddress = local.XDSAddress }),
			And(ContainSubstring("--api-address"), Not(ContainSubstring("on the way")))),
	)

	It("warn of nothing without --insecure", func() { Expect(local.Warnings()).To(BeEmpty()) })
})
