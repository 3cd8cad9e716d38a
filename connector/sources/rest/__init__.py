"""X's REST API: the meaning of answers, credentials, and the rules and connections that X holds."""
