"""The `atoll` command, one file per verb; heavy modules are imported inside the verbs."""
