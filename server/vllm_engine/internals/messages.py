"""Pieces of the messages of vLLM's errors, by which the errors are told apart."""

ENGINE_DIED = "EngineCore encountered an issue"
PROMPT_TOO_LONG = "context length"
NO_TOOL_PARSER = "--tool-call-parser"
SEVERAL_CONSTRAINTS = "constraint but"
DEEP_SCHEMA = "schema is nested too deeply"
CALL_FAILED = " method failed: "  # of the engine that a client has called; the cause follows
TEMPLATE_REFUSED = "-trust-request-chat-template"
# If the first backend can't compile a structural tag: the next one knows only older tags.
UNREADABLE_TAG = "Invalid grammar specification: 'triggers'"
