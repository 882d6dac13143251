"""This process and its children: what the garbage collector looks at, memory given back, workers that may be killed."""
