"""How a process of ours starts and ends, and how several share their work."""
