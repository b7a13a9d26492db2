"""The command line and the pipeline: load, capture, passes, lift, quantise, lower, emit, validate, seal."""
