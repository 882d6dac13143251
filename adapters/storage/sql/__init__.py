"""What is kept, in SQL: the tables and what reads and writes them."""
