"""What every process of ours needs: signals, forks, standard files, logs, tracebacks."""
