"""One message from its place in the queue to its answer in the ledger: claim, prompt, stream, end."""
