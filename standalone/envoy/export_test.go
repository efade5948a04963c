package envoy

// WriteSecrets is writeSecrets.
func WriteSecrets(dir, xdsAddress string, s Security) error {
	_, err := writeSecrets(dir, xdsAddress, s)
	return err
}
