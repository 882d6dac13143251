"""One shared asynchronous service: text and captions for everybody, fairly; `api` is its face."""
