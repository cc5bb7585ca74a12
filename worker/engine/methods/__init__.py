"""The methods: each turns a pair of pictures into targets, a start, and one compiled step."""
