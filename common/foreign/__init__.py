"""What is used of other packages' private names: one file a package, with its reason and a test that sees changes."""
