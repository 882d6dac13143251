"""The program as a process: its log lines, its stop, its closed pipes."""
