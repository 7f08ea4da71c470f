"""The agent and other capturing programs on live traffic, in a network namespace."""
