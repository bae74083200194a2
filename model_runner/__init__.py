"""What produces tokens: in process, or an engine over HTTP."""
