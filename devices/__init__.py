"""What a device says and is told. Imports nothing of ours; modules directly in this package are pure."""
