"""The pages: what people meet in a browser. Each works without scripts, and better with them."""
