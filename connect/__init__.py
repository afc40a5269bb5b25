"""Connect: who was near whom, when and for how long. The project that every process runs."""
