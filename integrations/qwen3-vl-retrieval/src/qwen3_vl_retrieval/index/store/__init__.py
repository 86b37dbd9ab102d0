"""What is on the disk: catalog, keywords, full vectors and kept media, written in transactions."""
