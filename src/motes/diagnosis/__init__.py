"""What is wrong with a run: before it is trained, and after; and where the error of its samples comes from."""
