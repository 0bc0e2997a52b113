"""The manifest: the one table to which every data set is brought, how it is built, and how it is validated."""
