"""The agent's configuration: one table of settings, and values from files, variables and flags.

    sections        the table: every setting with its type, default, bounds and help, from
                    `intake` and `outlets`
    settings        what a setting is
    values          texts and TOML values to a setting's type, and back
    toml_lines      in which line of a file a key stands
    sources         files, variables and flags to values, each with its origin
    boards          board profiles
    fitting         values that do not fit together
    configuration   `Config.load`: all of it
    reloading       what a running agent can take of a new configuration
    printing        the configuration as a file
    example         the commented example file

Secrets are never settings: they are in files that settings name.
"""

from edge_agent.config.configuration import DEFAULT_FILE, Config
from edge_agent.config.reloading import Change, Reload, reloadable

__all__ = ["DEFAULT_FILE", "Change", "Config", "Reload", "reloadable"]
