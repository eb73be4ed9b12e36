"""Wire structs of llama.cpp's router and server and nothing else."""
