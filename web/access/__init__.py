"""Who may do what: tokens, the callers that they belong to, and the gate that every request passes."""
