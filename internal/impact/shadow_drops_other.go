//go:build !linux

package impact

func dropping(place) (func(), error) { return nil, errNotLinux }
