"""Small applications that show how rewrites are put to use; not part of the package."""
