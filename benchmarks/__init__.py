"""What the connector costs, measured beside what a user would write without it."""
