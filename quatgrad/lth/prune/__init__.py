"""Which weights go: score x granularity x scope, in exact counts."""
