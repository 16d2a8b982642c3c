"""What cells say: numbers, classes, lists, relations; transforms, filters and ranges."""
