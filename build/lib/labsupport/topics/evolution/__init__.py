"""Evolution: genetic algorithms, evolution strategies, evolved architectures."""
