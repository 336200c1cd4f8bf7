"""The machine beneath: files on disk, several processes."""
