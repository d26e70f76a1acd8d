"""The run loop and its parts. Start reading at consumer.py."""
