"""Everything that knows a raw corpus: a loading script per corpus, and the tools that run them."""
