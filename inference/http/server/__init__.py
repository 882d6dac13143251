"""`partyline serve`: the inference service over HTTP, in OpenAI's words, for several bot processes and anybody else."""
