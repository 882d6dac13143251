"""llama.cpp in a child process: GGUF files, on CPUs and on whatever the build supports."""
