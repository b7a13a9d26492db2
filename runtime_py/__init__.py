"""Runs a bundle anywhere: sessions, devices, and the latency and accuracy harness. Imports without torch."""
