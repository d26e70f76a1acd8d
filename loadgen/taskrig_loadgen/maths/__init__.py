"""Percentiles, histograms, queueing theory. Pure."""
