"""Files: telemetry chunks and the ledger tables."""
