package generator_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/generator"
)

var _ = Describe("the identity of a mirror cluster", func() {
	fields := (&api.TrafficRoute_Mirror{}).ProtoReflect().Descriptor().Fields()

	It("is said of every field of a mirror, and has those that are marked", func() {
		for i := range fields.Len() {
			fd := fields.Get(i)
			Expect(proto.HasExtension(fd.Options(), api.E_ClusterIdentity)).To(BeTrue(),
				"%s: its proto does not say whether it belongs to the cluster's identity: (cluster_identity) = true or false", fd.FullName())
			changed := &api.TrafficRoute_Mirror{}
			change(changed.ProtoReflect(), fd)
			marked := proto.GetExtension(fd.Options(), api.E_ClusterIdentity).(bool)
			Expect(keyOf(changed) != keyOf(&api.TrafficRoute_Mirror{})).To(Equal(marked), "%s", fd.FullName())
		}
	})

	It("has every limit", func() {
		limits := (&api.TrafficRoute_Mirror_Limits{}).ProtoReflect().Descriptor().Fields()
		for i := range limits.Len() {
			changed := &api.TrafficRoute_Mirror_Limits{}
			change(changed.ProtoReflect(), limits.Get(i))
			Expect(keyOf(&api.TrafficRoute_Mirror{Limits: changed})).NotTo(Equal(keyOf(&api.TrafficRoute_Mirror{})), "%s", limits.Get(i).FullName())
		}
	})

	It("gives options that it has no field for clusters of their own", func() {
		plain := generator.Identity{Tags: v2(), Limits: generator.DefaultLimits}
		host := fields.ByName("host")
		option := func(value string) generator.Identity {
			return plain.WithOptions(&api.TrafficRoute_Mirror{Name: "x", Host: &api.TrafficRoute_Mirror_Host{
				Type: &api.TrafficRoute_Mirror_Host_Value{Value: value},
			}}, host)
		}
		Expect(option("a").Key()).To(Equal(option("a").Key()))
		Expect(option("a").Options.GetHost().GetValue()).To(Equal("a"))
		Expect(option("a").Options.GetName()).To(BeEmpty())
		names := map[string]bool{}
		for _, id := range []generator.Identity{plain, option("a"), option("b")} {
			names[id.Key()], names[id.ClusterName()] = true, true
		}
		Expect(names).To(HaveLen(6))
		Expect(plain.WithOptions(&api.TrafficRoute_Mirror{}, host)).To(Equal(plain))
	})
})

func keyOf(m *api.TrafficRoute_Mirror) string {
	return generator.IdentityOf(m, api.Tags{api.ServiceTag: "backend"}).Key()
}

// change gives the field fd of m a value that is none of the defaults.
func change(m protoreflect.Message, fd protoreflect.FieldDescriptor) {
	GinkgoHelper()
	switch {
	case fd.IsMap():
		m.Mutable(fd).Map().Set(protoreflect.ValueOfString(api.ServiceTag).MapKey(), protoreflect.ValueOfString("other"))
	case fd.Kind() == protoreflect.StringKind:
		m.Set(fd, protoreflect.ValueOfString("other"))
	case fd.Kind() == protoreflect.BoolKind:
		m.Set(fd, protoreflect.ValueOfBool(true))
	case fd.IsList() && fd.Message() != nil:
		m.Mutable(fd).List().AppendMutable()
	case fd.Message() == nil || fd.IsList():
		Fail("cannot change a field such as " + string(fd.FullName()))
	default:
		switch v := m.Mutable(fd).Message().Interface().(type) {
		case *wrapperspb.DoubleValue:
			v.Value = 7
		case *wrapperspb.UInt32Value:
			v.Value = 7
		case *wrapperspb.BoolValue:
			v.Value = true
		case *durationpb.Duration:
			v.Seconds = 7
		default:
			change(v.ProtoReflect(), v.ProtoReflect().Descriptor().Fields().Get(0))
		}
	}
}
