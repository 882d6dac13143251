"""What is known of a person, as values and ports: settings, usage, histograms. Pure."""
