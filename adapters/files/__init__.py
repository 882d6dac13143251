"""Files that come in or go out on any platform: downloads, attached texts, diagrams."""
