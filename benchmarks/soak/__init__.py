"""The agent under load for long, with a real broker: does it stay as it is?"""
