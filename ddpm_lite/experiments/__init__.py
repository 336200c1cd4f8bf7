"""What the book measured: studies, their stored results, and what makes them again."""
