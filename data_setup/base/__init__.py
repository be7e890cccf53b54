"""What comes before data: names and numbers in words, keywords, files and folders, pictures read."""
