"""Small function apps, each the subject of some tests of the local host, and `running`, which starts them."""
