"""`edge-agent check`: will the agent work here, with this configuration?

    checks      `run_checks`: all of them
    findings    what a check found: verdict, sentence, remedy; as a table and as JSON
    host        the facts of this machine that checks ask for, each of which a test can replace
    capture     privileges, interfaces, offloads
    model       model file and signature
    broker      the MQTT broker
    machine     clock, disk
    memory      what the configured bounds need, and what there is

Every check is a function of the configuration and the host, and none leaves anything behind.
"""

from edge_agent.checking.checks import CHECKS, run_checks
from edge_agent.checking.findings import Finding, Verdict, as_json, as_table, exit_code
from edge_agent.checking.host import Host

__all__ = ["CHECKS", "Finding", "Host", "Verdict", "as_json", "as_table", "exit_code", "run_checks"]
