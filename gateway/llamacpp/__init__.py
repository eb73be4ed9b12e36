"""Wire structs of llama.cpp's router and nothing else."""
