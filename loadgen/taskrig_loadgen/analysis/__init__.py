"""What results say: expectations, predictions, plans, comparisons, the search for a rate. Pure."""
