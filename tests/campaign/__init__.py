"""A campaign of bad inputs against every command: what is tried, how it is run, and what held."""
