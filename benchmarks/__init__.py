"""Side-by-side measurements, run by ``python -m benchmarks NAME``.

The measurements in the README come from here. Two are guards to run before and after a change:
``check`` against slowdowns, ``outcomes`` against other results.
"""
