"""What so many people need, and what they wait for: a simulation of Partyline on a virtual clock. Pure."""
