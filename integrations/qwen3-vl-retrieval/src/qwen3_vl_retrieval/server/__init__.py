"""The engine for others: HTTP, MCP, and a page to search with."""
