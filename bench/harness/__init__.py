"""What the benchmark is made of: who runs, under which loads, how it is measured, and what is aimed at."""
