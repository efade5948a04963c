package generator

import "strings"

// CouldBeName reports whether some mirror cluster has that name. Hosts need not
// show other clusters to plugin.Apply, which looks for names that are taken.
func CouldBeName(cluster string) bool { return strings.Contains(cluster, suffix) }
