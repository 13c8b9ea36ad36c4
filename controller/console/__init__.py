"""The ops console: FastAPI app, templates, vendored assets."""
