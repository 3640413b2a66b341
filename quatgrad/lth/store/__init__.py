"""What is on disk: whole files with checksums, and stages, folders named by what was done."""
