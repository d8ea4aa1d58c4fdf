"""A whole run in a folder: training with checkpoints, samples, metrics, pictures; and answers about files."""
