"""What a chunk of Markdown looks like on each platform. Rendering may change the look, never the content."""
