"""The report's pictures as files for papers, drawn by matplotlib. Imported only on demand."""
