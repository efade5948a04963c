package main

import "os"

// passedSignals are passed on to Envoy. Windows has none.
var passedSignals []os.Signal
