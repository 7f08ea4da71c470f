"""Packets to flows. Time comes in with the packets: no clock, no socket, no model in here."""
