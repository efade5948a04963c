package envoy

import (
	"context"
	"log/slog"
)

// WriteSecrets is writeSecrets.
func WriteSecrets(dir, xdsAddress string, s Security) error {
	_, err := writeSecrets(dir, xdsAddress, s)
	return err
}

// FollowSecrets writes secrets, too, and then follows their files until ctx ends.
func FollowSecrets(ctx context.Context, dir, xdsAddress string, s Security, log *slog.Logger) error {
	all, err := writeSecrets(dir, xdsAddress, s)
	if err != nil {
		return err
	}
	all.run(ctx, log)
	return nil
}
