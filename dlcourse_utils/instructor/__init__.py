"""What only instructors and maintainers run. It is left out of what students get."""
