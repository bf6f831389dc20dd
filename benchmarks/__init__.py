"""Side-by-side measurements, run by ``python -m benchmarks NAME``."""
