"""What a table model learns: one network for all columns, a base of normals for its numbers, and their training."""
