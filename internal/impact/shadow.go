package impact

import (
	"fmt"
	"slices"
	"strings"
)

// Shadow is one way for a shadow to behave.
type Shadow struct {
	// Name as on the command line.
	Name string
	// About is what it does, in a few words.
	About string
	// HTTP2 shadows have no counterpart in HTTP/1.1.
	HTTP2 bool
	// Kernel shadows need something of the system that not every one allows;
	// where it does not, they are left out, see Results.LeftOut.
	Kernel bool

	start  behaviour
	number int // in the list
}

// Healthy is the name of the shadow that does nothing wrong.
const Healthy = "healthy"

// Shadows returns all of them, the healthy one first.
func Shadows() []Shadow {
	all := []Shadow{
		{Name: Healthy, About: "answers at once", start: serving(healthy)},
		{Name: "refused", About: "nothing listens", start: refusing},
		{Name: "black-hole", About: "never accepts; its backlog is full", Kernel: true, start: swallowing},
		{Name: "drops-packets", About: "every packet to it is dropped", Kernel: true, start: dropping},
		{Name: "never-reads", About: "accepts and never reads", start: accepting(neverRead)},
		{Name: "reads-slowly", About: "reads one byte a second", start: accepting(readSlowly)},
		{Name: "never-answers", About: "reads and never answers", start: serving(neverAnswer)},
		{Name: "answers-late", About: "answers after 5 s", start: serving(answerLate)},
		{Name: "never-ends", About: "answers headers and never ends the body", start: serving(neverEnd)},
		{Name: "endless-body", About: "answers a body without an end, as fast as it goes", start: serving(answerEndlessly)},
		{Name: "huge-answer", About: "answers 100 MB", start: serving(answerHugely)},
		{Name: "resets-at-once", About: "resets each connection", start: accepting(resetAtOnce)},
		{Name: "resets-request", About: "resets in the middle of the request", start: accepting(resetRequest)},
		{Name: "resets-answer", About: "resets in the middle of the answer", start: byProtocol(accepting(resetAnswer), accepting(resetAnswer2))},
		{Name: "garbage", About: "answers something that is not HTTP", start: accepting(answerGarbage)},
		{Name: "only-500", About: "answers 500", start: serving(answer500)},
		{Name: "flapping", About: "dies and comes back every second", start: flapping},
		{Name: "goaway-storm", About: "answers each request with GOAWAYs", HTTP2: true, start: accepting(goAway)},
		{Name: "no-window", About: "never opens the window for bodies", HTTP2: true, start: accepting(noWindow)},
		{Name: "rst-streams", About: "answers each request with RST_STREAM", HTTP2: true, start: accepting(resetStreams)},
	}
	for i := range all {
		all[i].number = i
	}
	return all
}

func shadowsNamed(names []string) ([]Shadow, error) {
	return named(Shadows(), names, "shadow", func(s Shadow) string { return s.Name })
}

// shadows are those that the options choose and that this system lets the lab
// make.
func (o Options) shadows() (made []Shadow, leftOut []LeftOut, err error) {
	chosen, err := shadowsNamed(o.Shadows)
	if err != nil {
		return nil, nil, err
	}
	for _, s := range chosen {
		if err := s.tryKernel(); err != nil {
			leftOut = append(leftOut, LeftOut{s.Name, err.Error()})
			continue
		}
		made = append(made, s)
	}
	if len(made) == 0 {
		return nil, nil, fmt.Errorf("no shadow is left to try: %s", leftOut[0].Reason)
	}
	return made, leftOut, nil
}

// tryKernel says why the system does not allow a shadow.
func (s Shadow) tryKernel() error {
	if !s.Kernel {
		return nil
	}
	ports, err := reservePorts(1)
	if err != nil {
		return err
	}
	defer ports.release()
	stop, err := s.start(place{address: loopback(ports.numbers[0])})
	if err == nil {
		stop()
	}
	return err
}

// named picks from all, in their order; no names mean all of them.
func named[T any](all []T, names []string, kind string, name func(T) string) ([]T, error) {
	if len(names) == 0 {
		return all, nil
	}
	var known []string
	var picked []T
	for _, t := range all {
		known = append(known, name(t))
		if slices.Contains(names, name(t)) {
			picked = append(picked, t)
		}
	}
	for _, n := range names {
		if !slices.Contains(known, n) {
			return nil, fmt.Errorf("there is no %s %q; there are %s", kind, n, strings.Join(known, ", "))
		}
	}
	return picked, nil
}
