"""What to send and when: mix, pace, payload, recording. Pure."""
