"""Updates on their way in: received, recorded, put together, handed on."""
