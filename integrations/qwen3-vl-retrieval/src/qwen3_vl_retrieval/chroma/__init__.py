"""Chroma: the collection of an index, its repair, and an embedding function for collections of your own."""
