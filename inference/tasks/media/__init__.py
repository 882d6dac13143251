"""Decodes pictures of strangers, in processes with limits of time and memory."""
