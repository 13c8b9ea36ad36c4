"""Money between members: payments, arrears, loans, treasury, exports. Pure; what is decided stands in the ledger."""
