package secure

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	api "github.com/kuma-mirror/kuma-mirror/api/v1alpha1"
	"github.com/kuma-mirror/kuma-mirror/standalone/ground/mesh"
)

// Role is what the holder of an API token may do.
type Role string

// The roles, each of which may do what those before it may.
const (
	// Nobody has shown no token.
	Nobody Role = ""
	// Reader may read, and ask for a plan, which changes nothing.
	Reader Role = "reader"
	// Admin may do everything.
	Admin Role = "admin"
)

// may reports whether the role is enough where another is needed.
func (r Role) may(needed Role) bool {
	switch needed {
	case Nobody:
		return true
	case Reader:
		return r == Reader || r == Admin
	default:
		return r == Admin
	}
}

// Caller is who has shown a token of the API.
type Caller struct {
	// Name as in the token file; "line N" where it has none.
	Name string
	Role Role
}

// Proxy is who has shown that it may speak xDS.
type Proxy struct {
	// Name of the token or the certificate, for logs.
	Name string
	// Node is the only node id it may use; "" means any.
	Node string
}

// Tokens know who shows a token. They keep no token, only hashes.
type Tokens[T any] struct {
	sums   []digest
	owners []T
}

// digest of a token.
type digest [sha256.Size]byte

func digestOf(token string) digest { return sha256.Sum256([]byte(token)) }

// Lookup returns whose token it is. How long it takes does not depend on how
// much of the token is right.
func (t *Tokens[T]) Lookup(token string) (owner T, ok bool) { return t.lookup(digestOf(token)) }

func (t *Tokens[T]) lookup(shown digest) (owner T, ok bool) {
	found := -1
	for i := range t.sums {
		// The index is chosen without a branch, too.
		found = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(t.sums[i][:], shown[:]), i, found)
	}
	if found < 0 {
		return owner, false
	}
	return t.owners[found], true
}

const (
	minToken = 16
	maxToken = 512
)

// tokenForm is that of RFC 6750.
var tokenForm = regexp.MustCompile(`^[A-Za-z0-9._~+/-]+=*$`)

// ParseTokens reads tokens of the API. Each line is
//
//	TOKEN [ROLE [NAME]]
//
// A token has 16 to 512 letters, digits and -._~+/ with = at the end. A role is
// admin (the default) or reader. A name appears in logs. Empty lines, and those
// that begin with #, say nothing. The error has every bad line, and no token.
func ParseTokens(content []byte) (*Tokens[Caller], error) {
	return parseTokens(content, func(line int, rest []string) (Caller, error) {
		c := Caller{Name: fmt.Sprintf("line %d", line), Role: Admin}
		if len(rest) > 2 {
			return c, errors.New("has to be TOKEN [ROLE [NAME]], where a name has no spaces")
		}
		if len(rest) > 0 {
			// Not shown: it may be a token, put where it does not belong.
			if c.Role = Role(rest[0]); c.Role != Reader && c.Role != Admin {
				return c, errors.New("the role after the token has to be admin or reader")
			}
		}
		if len(rest) > 1 {
			c.Name = rest[1]
		}
		return c, nil
	})
}

// ParseXDSTokens reads tokens of proxies. Each line is
//
//	TOKEN [MESH/DATAPLANE]
//
// Tokens are as in ParseTokens. With a data plane the token is good for that one
// only, without one for all.
func ParseXDSTokens(content []byte) (*Tokens[Proxy], error) {
	return parseTokens(content, func(line int, rest []string) (Proxy, error) {
		p := Proxy{Name: fmt.Sprintf("line %d", line)}
		if len(rest) == 0 {
			return p, nil
		}
		meshName, dataplane, ok := strings.Cut(rest[0], "/")
		if !ok || len(rest) > 1 {
			return p, errors.New("has to be TOKEN [MESH/DATAPLANE]")
		}
		// Not shown: see above.
		for _, name := range []string{meshName, dataplane} {
			if name == "" || strings.Contains(name, "/") {
				return p, errors.New("MESH/DATAPLANE after the token has to be two names, such as default/web")
			}
		}
		p.Name, p.Node = rest[0], nodeID(meshName, dataplane)
		return p, nil
	})
}

func parseTokens[T any](content []byte, owner func(line int, rest []string) (T, error)) (*Tokens[T], error) {
	t := &Tokens[T]{}
	lines := map[digest]int{}
	var wrong []string
	for i, line := range bytes.Split(content, []byte("\n")) {
		fields := strings.Fields(string(line))
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		number := i + 1
		who, err := owner(number, fields[1:])
		if err == nil {
			err = checkToken(fields[0])
		}
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("line %d: %v", number, err))
			continue
		}
		hash := digestOf(fields[0])
		if first, twice := lines[hash]; twice {
			wrong = append(wrong, fmt.Sprintf("line %d: has the token of line %d", number, first))
			continue
		}
		lines[hash] = number
		t.sums, t.owners = append(t.sums, hash), append(t.owners, who)
	}
	if len(wrong) > 0 {
		return nil, errors.New(strings.Join(wrong, "; "))
	}
	if len(t.sums) == 0 {
		return nil, errors.New("has no token; make one with: openssl rand -hex 32")
	}
	return t, nil
}

func checkToken(token string) error {
	if len(token) < minToken || len(token) > maxToken {
		return fmt.Errorf("the token has %d characters; it has to have %d to %d, such as those of: openssl rand -hex 32",
			len(token), minToken, maxToken)
	}
	if !tokenForm.MatchString(token) {
		return errors.New("the token has to be of letters, digits and -._~+/ with = at the end only")
	}
	return nil
}

// ParseToken returns what a client sends: the token of content in the form of
// ParseTokens or ParseXDSTokens, which may have one only. The error has no token
// in it.
func ParseToken(content []byte) (string, error) {
	var token string
	for line := range bytes.Lines(content) {
		fields := strings.Fields(string(line))
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if token != "" {
			return "", errors.New("has more than one token; it has to have the one to send")
		}
		token = fields[0]
	}
	if token == "" {
		return "", errors.New("has no token; it has to be the first word of a line")
	}
	return token, checkToken(token)
}

// checkMode refuses a file of tokens or keys that others can write, and says
// what to warn of.
func checkMode(file string) (warning string, err error) {
	info, err := os.Stat(file)
	if err != nil {
		return "", err
	}
	mode := info.Mode().Perm()
	if mode&0o002 != 0 {
		return "", fmt.Errorf("%s: everybody on this machine can write it (mode %04o), and so add what opens the host; chmod o-w it", file, mode)
	}
	if mode&0o004 != 0 {
		return fmt.Sprintf("everybody on this machine can read %s (mode %04o); chmod o-r it, unless only this program sees it, as in a container", file, mode), nil
	}
	return "", nil
}

// nodeID is what the Envoy of a data plane calls itself.
func nodeID(meshName, dataplane string) string {
	return mesh.NodeID(api.Key{Kind: api.KindDataplane, Mesh: meshName, Name: dataplane})
}
