"""What people run, a folder for each; below them lies what several of them use."""
