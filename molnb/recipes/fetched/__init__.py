"""How the files of a recipe come to this computer: addresses, downloads, hashes, files by hand."""
