"""The command line and the pipeline: load, capture, passes, quantise, lower, emit, verify."""
