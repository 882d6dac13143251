"""This process and its children: cores, garbage collection, memory given back, workers that may be killed."""
