"""How fast the meter is: traces, contenders that take turns, and what each costs per packet."""
