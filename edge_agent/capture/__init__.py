"""Where packets come from: capture files and standard input."""
