"""Where decisions are written: a file, the standard output, syslog, the journal. See `spoa.logsinks.opening`."""
