"""The recipes: each file turns a pair of pictures into targets, a start, and one compiled step."""
