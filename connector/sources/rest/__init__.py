"""X's REST API: what an answer means, who we are, which rules and connections X holds."""
