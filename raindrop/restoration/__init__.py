"""A generator over arrays, files, folders and videos."""
