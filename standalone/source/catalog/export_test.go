package catalog

// Waiting is how many writes wait for the one before them to be on disk.
func (c *Catalog) Waiting() int {
	c.queue.mu.Lock()
	defer c.queue.mu.Unlock()
	return len(c.queue.writes)
}
