"""Pages that show results in a browser: one for each case with a viewer in it, one for a cohort; nothing is fetched."""
