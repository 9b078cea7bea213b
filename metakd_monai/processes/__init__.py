"""How processes start and end, and how several of them share work."""
